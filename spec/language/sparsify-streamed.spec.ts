import {existsSync, readFileSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import type * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {IgnoredScope, TargetScope, compressWeights, retarget, sparsifyActivations} from '../../lib/index.js';
import {saveLayersModel} from '../../lib/io/model/model-files.js';
import type {Checkpoint} from '../../lib/language/weights/checkpoint.js';
import {
  PROJECTIONS,
  attachMetadata,
  buildModel,
  loadLanguageModel,
  loadWeights,
  parseConfig,
  sparsifyStreamed,
  textDataset,
} from '../../lib/language/index.js';
import {sparsifyCheckpoint, type SparsifyStreamedOptions} from '../../lib/language/sparsify-streamed.js';
import {BACKENDS, disposeModels, onEveryBackend, withoutLeaks} from '../support/backends.js';
import {
  SMALL_CONFIGS,
  checkpointOf,
  randomIds,
  randomWeights,
  smallConfigs,
} from '../support/language/random-checkpoint.js';
import {isClosed} from '../support/io/files.js';
import {rejection} from '../support/rejection.js';
import {temporaryFolder} from '../support/temporary-folder.js';
import {TINY_CHECKPOINTS, expectedOf, tinyFolder} from '../support/language/tiny-checkpoints.js';

const SCOPES = [
  [new TargetScope({patterns: [PROJECTIONS.gateUp]}), 0.3],
  [new TargetScope({patterns: [PROJECTIONS.down]}), 0.5],
] as const;

/** Every file of a saved model by name; the weights' names hold their hash. */
function filesOf(folder: string): Map<string, string> {
  return new Map(
    readdirSync(folder)
      .sort()
      .map((name) => [name, readFileSync(join(folder, name), 'base64')]),
  );
}

/** The weights of a model saved in one shard, shape and bytes by name, and what else its model.json says. */
function weightsOf(folder: string): {weights: Map<string, string>; others: object} {
  const {weightsManifest, ...others} = JSON.parse(readFileSync(join(folder, 'model.json'), 'utf8')) as {
    weightsManifest: {paths: string[]; weights: {name: string; shape: number[]}[]}[];
  };
  const [{paths, weights}] = weightsManifest;
  const bytes = readFileSync(join(folder, paths[0]));
  let offset = 0;
  const entries = weights.map(({name, shape}) => {
    const size = 4 * shape.reduce((product, dimension) => product * dimension, 1);
    const value = bytes.toString('base64', offset, (offset += size));
    return [name, `[${shape}] ${value}`] as const;
  });
  return {weights: new Map(entries), others};
}

function small(title: string, changes: Record<string, unknown> = {}): Checkpoint {
  const config = parseConfig({...SMALL_CONFIGS[title], ...changes});
  return checkpointOf(config, randomWeights(config, 7));
}

/** Three batches of ids, the last one smaller. */
const TEXT = {data: randomIds(5 * 16, 96, 3), sequenceLength: 16, batchSize: 2};

/** The way with the whole model in memory. */
async function inMemory(
  checkpoint: Checkpoint,
  out: string,
  options: SparsifyStreamedOptions,
): Promise<void> {
  const {data, compress, compressIgnoredScope, compressOptions} = options;
  const {targetSparsityByScope, ignoredScope, calibration} = options;
  const model = buildModel(checkpoint.config);
  try {
    await loadWeights(model, checkpoint);
    attachMetadata(model, checkpoint);
    if (compress !== undefined) {
      await compressWeights(model, {
        ...{mode: compress, ...compressOptions},
        ...{ignoredScope: compressIgnoredScope, inPlace: true},
      });
    }
    if (targetSparsityByScope !== undefined) {
      const {sequenceLength, sequences, batchSize} = options;
      await sparsifyActivations(
        model,
        textDataset(data as number[], {sequenceLength, sequences, batchSize}),
        {
          targetSparsityByScope,
          ignoredScope,
          calibration,
          inPlace: true,
          saveStatistics: true,
        },
      );
    }
    await saveLayersModel(model, out);
  } finally {
    disposeModels(model);
  }
}

describe('sparsifying with one block in memory', () => {
  const folder = temporaryFolder();

  async function both(checkpoint: Checkpoint, options: SparsifyStreamedOptions): Promise<[string, string]> {
    const [whole, streamed] = ['whole', 'streamed'].map((name) => join(folder.path, name));
    await inMemory(checkpoint, whole, options);
    await sparsifyCheckpoint(checkpoint, streamed, options);
    return [whole, streamed];
  }

  async function compare(checkpoint: Checkpoint, options: SparsifyStreamedOptions): Promise<void> {
    const [whole, streamed] = await both(checkpoint, options);
    expect([...filesOf(streamed).keys()]).to.deep.equal([...filesOf(whole).keys()]);
    expect(filesOf(streamed)).to.deep.equal(filesOf(whole));
  }

  onEveryBackend((backend) => {
    for (const [title, config] of smallConfigs()) {
      const checkpoint = checkpointOf(config, randomWeights(config, 7));
      for (const compress of [undefined, 'int8_asym'] as const) {
        for (const calibration of ['pooled', 'nncf'] as const) {
          it(`writes the files of the whole model: ${title}, ${compress ?? 'float32'}, ${calibration}`, async () => {
            await compare(checkpoint, {...TEXT, targetSparsityByScope: SCOPES, calibration, compress});
          });
        }
      }
      if (backend !== BACKENDS.at(-1)) break; // the others: on the fastest
    }
  });

  withoutLeaks(() => {
    const cases: Record<string, [Checkpoint, SparsifyStreamedOptions]> = {
      'every Dense layer, the head and a router too': [
        small('mixtral'),
        {...TEXT, targetSparsityByScope: {'.*': 0.4}},
      ],
      'a tied head with a target of its own, INT8': [
        small('qwen3'),
        {...TEXT, compress: 'int8_sym', targetSparsityByScope: {lm_head: 0.2, [PROJECTIONS.attention]: 0.5}},
      ],
      'layers of the first block only': [
        small('llama', {num_hidden_layers: 4}),
        {...TEXT, targetSparsityByScope: {'model\\.layers\\.0\\..*': 0.6}},
      ],
      'layers of a block in the middle only': [
        small('llama', {num_hidden_layers: 4}),
        {...TEXT, targetSparsityByScope: {'model\\.layers\\.2\\..*': 0.6}},
      ],
      'some layers ignored': [
        small('qwen2'),
        {
          ...TEXT,
          targetSparsityByScope: {[PROJECTIONS.all]: 0.5},
          ignoredScope: new IgnoredScope({patterns: ['.*1.self_attn.*']}),
        },
      ],
      'leading tokens left out': [
        small('mistral'),
        {
          ...TEXT,
          targetSparsityByScope: SCOPES,
          calibration: {skipLeadingTokens: 3},
        },
      ],
      'masked tokens left out': [
        small('llama'),
        {
          ...TEXT,
          targetSparsityByScope: SCOPES,
          calibration: {
            method: 'nncf',
            alpha: 0.5,
            tokenMask: (item) =>
              ((item as tf.Tensor).arraySync() as number[][]).map((ids) => ids.map((id) => id > 9)),
          },
        },
      ],
      'INT4 with a tied head, all layers': [
        small('gemma'),
        {
          ...{...TEXT, targetSparsityByScope: SCOPES, compress: 'int4_asym'},
          compressOptions: {groupSize: 8, allLayers: true},
        },
      ],
      'INT4 and a backup for the embedding and the head': [
        small('gemma, untied, with exact gelu'),
        {compress: 'int4_sym', compressOptions: {groupSize: 4, backupMode: 'int8_sym'}},
      ],
      'INT8 without thresholds': [small('gemma'), {compress: 'int8_asym'}],
      'float32 without thresholds': [small('phi3'), {}],
    };
    for (const [title, [checkpoint, options]] of Object.entries(cases)) {
      it(`writes the files of the whole model: ${title}`, () => compare(checkpoint, options));
    }

    it('writes the weights of the whole model, in another order where only some are INT8', async () => {
      const [whole, streamed] = await both(small('gemma, untied, with exact gelu'), {
        ...TEXT,
        compress: 'int8_asym',
        compressIgnoredScope: new IgnoredScope({patterns: ['.*down_proj', 'lm_head']}),
        targetSparsityByScope: {[PROJECTIONS.all]: 0.5},
      });
      const [expected, got] = [weightsOf(whole), weightsOf(streamed)];
      expect([...got.weights.keys()]).to.have.members([...expected.weights.keys()]);
      for (const [name, value] of expected.weights) expect(got.weights.get(name), name).to.equal(value);
      expect(got.others).to.deep.equal(expected.others);
    });

    for (const name of TINY_CHECKPOINTS) {
      it(`makes a language model that loads, retargets and generates of ${name}`, async () => {
        const data = expectedOf(name).input_ids.flat();
        const out = join(folder.path, name);
        const report = await sparsifyStreamed(tinyFolder(name), out, {
          data,
          sequenceLength: Math.floor(data.length / 3),
          compress: 'int8_asym',
          targetSparsityByScope: {[PROJECTIONS.all]: 0.5},
        });
        const lm = await loadLanguageModel(out);
        try {
          const {tokens} = await lm.generate(data.slice(0, 4), {maxTokens: 3, temperature: 0});
          expect(tokens).to.have.length.greaterThan(0);
          expect(retarget(lm.model, {[PROJECTIONS.all]: 0.5})).to.deep.equal(report);
        } finally {
          lm.dispose();
        }
      });
    }

    it('tells after each part how far it is, and reads part after part', async () => {
      const checkpoint = small('llama');
      const read: string[] = [];
      const seen: [done: number, total: number | null, read: number][] = [];
      await sparsifyCheckpoint(
        {...checkpoint, read: (name) => (read.push(name), checkpoint.read(name))},
        join(folder.path, 'parts'),
        {
          ...{...TEXT, targetSparsityByScope: SCOPES, compress: 'int8_asym'},
          onProgress: ({done, total}) => seen.push([done, total, read.length]),
        },
      );
      const isVector = (name: string) => checkpoint.tensors.get(name)!.shape.length === 1;
      const vectors = read.findIndex((name) => !isVector(name));
      expect(vectors, 'norms of two blocks and the last').to.equal(5);
      expect(new Set(read).size).to.equal(checkpoint.tensors.size);
      // Behind the vectors: the embedding, 9 tensors of each block with its two norms again, the last norm and the head.
      expect(seen.map(([done, total]) => [done, total])).to.deep.equal([1, 2, 3, 4].map((done) => [done, 4]));
      const parts = seen.map(([, , count], i) => read.slice(i === 0 ? vectors : seen[i - 1][2], count));
      expect(parts[0]).to.deep.equal(['model.embed_tokens.weight']);
      for (const block of [0, 1])
        expect(parts[block + 1].every((name) => name.startsWith(`model.layers.${block}.`))).to.equal(true);
      expect(parts[3]).to.have.members(['model.norm.weight', 'lm_head.weight']);
    });

    it('takes data that a function makes for the model', async () => {
      const [ids, made] = ['ids', 'made'].map((name) => join(folder.path, name));
      const checkpoint = small('llama');
      await sparsifyCheckpoint(checkpoint, ids, {...TEXT, targetSparsityByScope: SCOPES});
      let layers = 0;
      const data = (model: tf.LayersModel) => {
        layers = model.layers.length;
        return textDataset(TEXT.data, {sequenceLength: 16, batchSize: 2});
      };
      await sparsifyCheckpoint(checkpoint, made, {data, targetSparsityByScope: SCOPES});
      expect(layers).to.be.above(20);
      expect(filesOf(made)).to.deep.equal(filesOf(ids));
    });

    it('leaves statistics out on request, and cuts shards', async () => {
      const [whole, without] = ['whole', 'without'].map((name) => join(folder.path, `statistics-${name}`));
      const checkpoint = small('llama');
      const options = {...TEXT, targetSparsityByScope: SCOPES};
      await sparsifyCheckpoint(checkpoint, whole, options);
      await sparsifyCheckpoint(checkpoint, without, {...options, saveStatistics: false, maxShardBytes: 1000});
      const json = (dir: string) => readFileSync(join(dir, 'model.json'), 'utf8');
      expect(json(whole).length).to.be.above(json(without).length);
      const shards = [...filesOf(without)].filter(([name]) => name.endsWith('.bin'));
      expect(Math.max(...shards.map(([, bytes]) => Buffer.from(bytes, 'base64').length))).to.equal(1000);
      const lm = await loadLanguageModel(without);
      expect(() => retarget(lm.model, {[PROJECTIONS.down]: 0.5})).to.throw(/statistics/);
      lm.dispose();
    });

    it('looks at the place to save to before it opens the checkpoint', async () => {
      const file = folder.write('file', '');
      await rejection(
        () => sparsifyStreamed(join(folder.path, 'nowhere'), join(file, 'out')),
        'not-a-folder',
      );
      await rejection(
        () => sparsifyStreamed(join(folder.path, 'nowhere'), join(folder.path, 'out')),
        'missing-file',
      );
    });

    it('lets go of the checkpoint, done or not', async () => {
      const weights = join(tinyFolder('llama2-mha'), 'model.safetensors');
      await sparsifyStreamed(tinyFolder('llama2-mha'), join(folder.path, 'closed'));
      expect(await isClosed(weights)).to.not.equal(false);
      const unmatched = {data: [1, 2, 3], targetSparsityByScope: {'.*up_porj': 0.5}};
      await rejection(
        () => sparsifyStreamed(tinyFolder('llama2-mha'), join(folder.path, 'closed'), unmatched),
        'unmatched-rule',
      );
      expect(await isClosed(weights)).to.not.equal(false);
    });

    it('knows its options', async () => {
      const wrong = {target: 0.5} as object;
      const error = await rejection(() => sparsifyStreamed('nowhere', 'out', wrong), 'unknown-option');
      expect(error.message).to.include('sparsifyStreamed').and.include('target');
    });

    it('needs data for targets', async () => {
      const out = join(folder.path, 'none');
      const options = {targetSparsityByScope: SCOPES};
      const error = await rejection(
        () => sparsifyStreamed(tinyFolder('llama2-mha'), out, options),
        'missing-option',
      );
      expect(error.message).to.equal('sparsifyStreamed needs data to find thresholds: give a text');
    });

    it('refuses a ratio below 1, which chooses layers by all weights, before it reads any', async () => {
      const checkpoint = {...small('llama'), read: () => Promise.reject(new Error('read'))};
      const options = {compress: 'int4_asym', compressOptions: {groupSize: 8, ratio: 0.5}} as const;
      const error = await rejection(
        () => sparsifyCheckpoint(checkpoint, join(folder.path, 'none'), options),
        'unsupported-option',
      );
      expect(error.message)
        .to.include('the ratio is 0.5')
        .and.include('compress the model once it is loaded');
      expect(existsSync(join(folder.path, 'none'))).to.equal(false);
    });

    it('names a scope that matches nothing before it reads weights', async () => {
      const checkpoint = {...small('llama'), read: () => Promise.reject(new Error('read'))};
      const options = {...TEXT, targetSparsityByScope: {'.*up_porj': 0.5}};
      await rejection(
        () => sparsifyCheckpoint(checkpoint, join(folder.path, 'none'), options),
        'unmatched-rule',
      );
    });

    it('leaves the old model whole when it is stopped, and nothing beside it', async () => {
      const out = join(folder.path, 'stopped');
      const checkpoint = small('llama');
      await sparsifyCheckpoint(checkpoint, out, {});
      const before = filesOf(out);
      const stop = new AbortController();
      const options = {
        ...TEXT,
        targetSparsityByScope: SCOPES,
        signal: stop.signal,
        onProgress: ({done}: {done: number}) => {
          if (done === 2) stop.abort(new Error('stopped'));
        },
      };
      let error: unknown;
      await sparsifyCheckpoint(checkpoint, out, options).catch((reason: unknown) => (error = reason));
      expect(error).to.equal(stop.signal.reason);
      expect(filesOf(out)).to.deep.equal(before);
    });

    it('leaves nothing when a weight is not finite', async () => {
      const config = parseConfig(SMALL_CONFIGS.llama);
      const weights = randomWeights(config, 7);
      weights.get('model.layers.1.mlp.up_proj.weight')![5] = NaN;
      const out = join(folder.path, 'nan');
      const options: SparsifyStreamedOptions = {...TEXT, targetSparsityByScope: SCOPES};
      const run = (more: SparsifyStreamedOptions) => () =>
        sparsifyCheckpoint(checkpointOf(config, weights), out, {...options, ...more});
      expect((await rejection(run({}), 'nan')).message).to.include('model.layers.1.mlp.down_proj');
      const {message} = await rejection(run({compress: 'int8_asym'}), 'not-finite');
      expect(message).to.include('layer "model.layers.1.mlp.up_proj"');
      expect(existsSync(out)).to.equal(false);
    });
  });
});
