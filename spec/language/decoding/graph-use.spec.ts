/** @file A language model's LayersModel under what the rest of this package does with models. */
import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {expect} from 'chai';
import * as tf from '@tensorflow/tfjs';
import {Dataset, inspect, measureSparsity, sparsifyActivations, TargetScope} from '../../../lib/index.js';
import {cloneModel} from '../../../lib/model/clone.js';
import {maskingLayers} from '../../../lib/model/dense-layers.js';
import {loadLayersModel, saveLayersModel} from '../../../lib/io/model/model-files.js';
import type {LlamaConfig} from '../../../lib/language/config/llama-config.js';
import {buildModel} from '../../../lib/language/graph/build-model.js';
import {registerLlamaLayers} from '../../../lib/language/graph/layers/register-llama-layers.js';
import {PROJECTIONS} from '../../../lib/language/projections.js';
import {disposeModels, onEveryBackend} from '../../support/backends.js';
import {savedArtifacts} from '../../support/saved-artifacts.js';
import {randomModel} from '../../support/language/loaded-models.js';
import {randomIds, smallConfigs} from '../../support/language/random-checkpoint.js';
import {relativeError} from '../../support/language/tiny-checkpoints.js';

/** Token batches as nested arrays. */
function batches(config: LlamaConfig, count: number, tokens: number): number[][][] {
  return Array.from({length: count}, (_, i) => [
    randomIds(tokens, config.vocabularySize, 20 + i),
    randomIds(tokens, config.vocabularySize, 120 + i),
  ]);
}

function logitsOf(model: tf.LayersModel, ids: number[][]): Float32Array {
  return tf.tidy(
    () => (model.predict(tf.tensor2d(ids, undefined, 'int32')) as tf.Tensor).dataSync() as Float32Array,
  );
}

/** Targets as NNCF's example has them. */
const TARGETS = new Map([
  [new TargetScope({patterns: [PROJECTIONS.gateUp]}), 0.3],
  [new TargetScope({patterns: [PROJECTIONS.down]}), 0.5],
]);

describe('a language model as a LayersModel', () => {
  onEveryBackend(() => {
    for (const [title, config] of smallConfigs()) {
      it(`${title}: sparsified, saved and loaded it computes the same`, async () => {
        const folder = await mkdtemp(join(tmpdir(), 'llama-'));
        const model = await randomModel(config, 11);
        const ids = batches(config, 1, 12)[0];
        const dense = logitsOf(model, ids);
        const sparse = await sparsifyActivations(model, new Dataset(batches(config, 3, 16)), {
          targetSparsityByScope: TARGETS,
        });
        const expected = logitsOf(sparse, ids);
        expect(relativeError(expected, dense)).to.be.above(1e-3); // it masks
        expect([...logitsOf(model, ids)]).to.deep.equal([...dense]); // the original is as it was

        await saveLayersModel(sparse, folder);
        registerLlamaLayers();
        const loaded = await loadLayersModel(folder);
        expect([...logitsOf(loaded, ids)]).to.deep.equal([...expected]);
        expect(inspect(loaded)).to.deep.equal(inspect(sparse));

        const artifacts = await savedArtifacts(sparse);
        const topology = JSON.parse(JSON.stringify(artifacts)) as tf.io.ModelArtifacts;
        const stock = await tf.loadLayersModel(
          tf.io.fromMemory({...topology, weightData: artifacts.weightData}),
        );
        expect([...logitsOf(stock, ids)]).to.deep.equal([...expected]);

        disposeModels(stock, loaded, sparse, model);
        await rm(folder, {recursive: true});
      });
    }

    it('a copy has its own thresholds and frees what is its own', async () => {
      const config = smallConfigs().get('mixtral')!;
      const model = await randomModel(config, 11);
      const ids = batches(config, 1, 9)[0];
      const before = logitsOf(model, ids);
      const copy = cloneModel(model);
      expect([...logitsOf(copy, ids)]).to.deep.equal([...before]);
      copy.dispose();
      expect([...logitsOf(model, ids)]).to.deep.equal([...before]);
      disposeModels(model);
    });

    it('experts are sparsified and measured each by itself', async () => {
      const config = smallConfigs().get('mixtral')!;
      const model = await randomModel(config, 11);
      const data = batches(config, 4, 24);
      const sparse = await sparsifyActivations(model, new Dataset(data), {targetSparsityByScope: TARGETS});
      const measured = await measureSparsity(sparse, new Dataset(data));
      const experts = config.layers * config.experts!.count;
      expect(measured.length).to.equal(3 * experts);
      for (const {path, target, actual} of measured) {
        expect(path).to.match(/^model\.layers\.\d\.block_sparse_moe\/experts\.\d\.w[123]$/);
        expect(target).to.equal(path.endsWith('w2') ? 0.5 : 0.3);
        // What reaches an expert changes a little once those before it mask.
        expect(actual).to.be.closeTo(target!, 0.06);
      }
      disposeModels(sparse, model);
    });

    it('an expert that no token reaches while calibrating masks nothing', async () => {
      const config = smallConfigs().get('mixtral')!;
      const model = await randomModel(config, 11);
      const sparse = await sparsifyActivations(
        model,
        new Dataset([[randomIds(1, config.vocabularySize, 1)]]),
        {
          targetSparsityByScope: TARGETS,
        },
      );
      const thresholds = [...maskingLayers(sparse)].map(([path, {threshold}]) => ({
        path,
        value: threshold!.read().dataSync()[0],
      }));
      const reached = thresholds.filter(({value}) => value > -Infinity);
      // One token reaches perToken of the experts of each layer, w1, w3 and w2 of each.
      expect(reached.length).to.equal(config.layers * config.experts!.perToken * 3);
      expect(logitsOf(sparse, batches(config, 1, 8)[0]).every(Number.isFinite)).to.equal(true);
      disposeModels(sparse, model);
    });

    it('predicts batches that are cut into several', async () => {
      const config = smallConfigs().get('qwen3')!;
      const model = await randomModel(config, 11);
      const ids = Array.from({length: 35}, (_, i) => randomIds(4, config.vocabularySize, 40 + i));
      const all = logitsOf(model, ids);
      const last = logitsOf(model, ids.slice(-1));
      expect(relativeError(all.subarray(-last.length), last)).to.be.below(1e-5);
      disposeModels(model);
    });
  });
});

describe('PROJECTIONS', () => {
  const attention = ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj', 'self_attn.o_proj'];
  const cases: [string, {gateUp: string[]; down: string[]; attention: string[]}][] = [
    ['llama', {gateUp: ['mlp.gate_proj', 'mlp.up_proj'], down: ['mlp.down_proj'], attention}],
    [
      'phi3',
      {
        gateUp: ['mlp.gate_up_proj'],
        down: ['mlp.down_proj'],
        attention: ['self_attn.qkv_proj', 'self_attn.o_proj'],
      },
    ],
    [
      'mixtral',
      {
        gateUp: [0, 1, 2, 3, 4].flatMap((e) => [1, 3].map((w) => `block_sparse_moe/experts.${e}.w${w}`)),
        down: [0, 1, 2, 3, 4].map((e) => `block_sparse_moe/experts.${e}.w2`),
        attention,
      },
    ],
  ];
  for (const [title, expected] of cases) {
    it(`name the layers of ${title} by role`, () => {
      const model = buildModel(smallConfigs().get(title)!);
      const paths = inspect(model).map(({path}) => path);
      const matching = (pattern: string) => paths.filter((path) => new RegExp(`^(?:${pattern})`).test(path));
      const inEveryLayer = (names: string[]) =>
        [0, 1].flatMap((i) => names.map((name) => `model.layers.${i}.${name}`));
      for (const role of ['gateUp', 'down', 'attention'] as const) {
        expect(matching(PROJECTIONS[role])).to.have.members(inEveryLayer(expected[role]));
      }
      expect(matching(PROJECTIONS.all)).to.have.members(
        inEveryLayer([...expected.gateUp, ...expected.down, ...expected.attention]),
      );
      disposeModels(model);
    });
  }
});
