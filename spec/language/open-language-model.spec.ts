import {createHash} from 'node:crypto';
import {readFileSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {compressWeights} from '../../lib/compress.js';
import {MemoryStore} from '../../lib/io/web/piece-store.js';
import {deleteCachedModel, listCachedModels} from '../../lib/io/web/cached-models.js';
import {IgnoredScope, sparsifyActivations} from '../../lib/index.js';
import {
  PROJECTIONS,
  languageModelOf,
  loadLanguageModel,
  memoryNeed,
  openLanguageModel,
  type LanguageModel,
  type OpenLanguageModelOptions,
  type OpenProgress,
} from '../../lib/language/index.js';
import {rangeServer, type RangeServer} from '../support/io/range-server.js';
import {weightBytes} from '../support/io/weight-bytes.js';
import {tinyFolder} from '../support/language/tiny-checkpoints.js';
import {printableText} from '../support/language/tiny-language-models.js';
import type {LanguageModelSource} from '../../lib/language/import/opened-source.js';
import {rejection} from '../support/rejection.js';
import {temporaryFolder} from '../support/temporary-folder.js';

const GGUF = readFileSync(join(tinyFolder('llama3-gqa-rope'), 'model-f32.gguf'));
const sha256Of = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

describe('openLanguageModel', () => {
  const folder = temporaryFolder();
  let server: RangeServer;
  let store: MemoryStore;

  before(() => tf.setBackend('cpu'));
  beforeEach(async () => {
    server = await rangeServer();
    store = new MemoryStore();
  });
  afterEach(() => server.close());

  /** Puts the files of a folder on the server. */
  function publish(dir: string, at: string): void {
    for (const name of readdirSync(dir)) {
      if (/\.(json|bin|safetensors|gguf|jinja)$/.test(name))
        server.files.set(`${at}${name}`, readFileSync(join(dir, name)));
    }
  }

  const filesOf = (dir: string) =>
    readdirSync(dir).map((name) => new File([readFileSync(join(dir, name))], name));

  async function open(
    source: string | URL | Blob | File[],
    options: OpenLanguageModelOptions = {},
  ): Promise<LanguageModel> {
    return openLanguageModel(typeof source === 'string' ? server.url + source : source, {store, ...options});
  }

  /** Expects the weights and the answer of another model; disposes the given one. */
  async function expectSame(lm: LanguageModel, wanted: LanguageModel): Promise<void> {
    try {
      expect(weightBytes(lm.model)).to.deep.equal(weightBytes(wanted.model));
      expect(lm.model.weights.map(({originalName}) => originalName)).to.deep.equal(
        wanted.model.weights.map(({originalName}) => originalName),
      );
      const ids = [5, 9, 12];
      expect((await lm.generate(ids, {maxTokens: 4})).tokens).to.deep.equal(
        (await wanted.generate(ids, {maxTokens: 4})).tokens,
      );
      expect(lm.config).to.deep.equal(wanted.config);
      expect(lm.tokenizer === null).to.equal(wanted.tokenizer === null);
    } finally {
      lm.dispose();
    }
  }

  it('opens a GGUF file by its URL, with progress, and without its server the next time', async () => {
    server.files.set('/a/model.gguf', GGUF);
    const wanted = await loadLanguageModel(join(tinyFolder('llama3-gqa-rope'), 'model-f32.gguf'));
    const seen: OpenProgress[] = [];
    await expectSame(
      await open('/a/model.gguf?key=1', {onProgress: (progress) => seen.push(progress)}),
      wanted,
    );
    expect([...new Set(seen.map(({stage}) => stage))]).to.deep.equal(['download', 'memory', 'weights']);
    const downloads = seen.filter((each) => each.stage === 'download');
    expect(downloads.at(-1)).to.include({
      file: `${server.url}/a/model.gguf`,
      receivedBytes: GGUF.length,
      cachedBytes: 0,
    });
    const weights = seen.filter((each) => each.stage === 'weights');
    expect(weights.at(-1)!.done).to.equal(weights.at(-1)!.total);
    await server.close();
    const again: OpenProgress[] = [];
    await expectSame(
      await open('/a/model.gguf?key=1', {onProgress: (progress) => again.push(progress)}),
      wanted,
    );
    expect(again.find((each) => each.stage === 'download')).to.deep.equal({
      stage: 'download',
      file: `${server.url}/a/model.gguf`,
      receivedBytes: GGUF.length,
      cachedBytes: GGUF.length,
      totalBytes: GGUF.length,
    });
    wanted.dispose();
  });

  for (const name of ['llama-sharded', 'smollm-tied-bf16', 'mixtral-moe']) {
    it(`opens the Hugging Face folder ${name} by its URL, and offline the next time`, async () => {
      publish(tinyFolder(name), '/hf/main/');
      const wanted = await loadLanguageModel(tinyFolder(name));
      await expectSame(await open('/hf/main'), wanted);
      await server.close();
      await expectSame(await open('/hf/main/'), wanted);
      await expectSame(await open(filesOf(tinyFolder(name))), wanted);
      wanted.dispose();
    });
  }

  describe('a saved model', () => {
    let saved: LanguageModel;
    let dir: string;

    before(async () => {
      const dense = await loadLanguageModel(join(tinyFolder('llama3-gqa-rope'), 'model-f32.gguf'));
      const model = await sparsifyActivations(
        dense.model,
        dense.dataset(printableText(400, 3), {sequenceLength: 16}),
        {
          targetSparsityByScope: {[PROJECTIONS.all]: 0.5},
        },
      );
      saved = languageModelOf(model);
      dense.dispose();
      dir = join(folder.path, 'saved');
      await saved.save(dir);
    });
    after(() => saved.dispose());

    it('is opened by the URL of its folder and of its model.json, and offline the next time', async () => {
      publish(dir, '/saved/');
      await expectSame(await open('/saved'), saved);
      await expectSame(await open('/saved/model.json?x=1'), saved);
      await server.close();
      await expectSame(await open(new URL(`${server.url}/saved/`)), saved);
    });

    it('is opened from the files of its folder', async () => {
      await expectSame(await open(filesOf(dir)), saved);
    });

    it('is refused when a shard is damaged on the server, and nothing of the shard is kept', async () => {
      publish(dir, '/saved/');
      const shard = [...server.files.keys()].find((name) => name.endsWith('.bin'))!;
      const damaged = Uint8Array.from(server.files.get(shard)!);
      damaged[damaged.length >> 1] ^= 1;
      const whole = server.files.get(shard)!;
      server.files.set(shard, damaged);
      const error = await rejection(() => open('/saved'), 'checksum-mismatch');
      expect(error.message).to.contain(shard);
      server.files.set(shard, whole);
      await expectSame(await open('/saved'), saved);
    });

    it('is refused when a dropped shard is damaged', async () => {
      const files = filesOf(dir).map((file) =>
        file.name.endsWith('.bin')
          ? new File([file.slice(0, 8), new Uint8Array(4), file.slice(12)], file.name)
          : file,
      );
      const error = await rejection(() => open(files), 'checksum-mismatch');
      expect(error.message).to.contain('.bin');
    });

    it('becomes INT8 while it is read, as compressWeights makes it', async () => {
      publish(dir, '/saved/');
      const wanted = languageModelOf(await compressWeights(saved.model));
      await expectSame(await open('/saved', {compress: 'int8_asym'}), wanted);
      wanted.dispose();
    });

    it('is refused before its weights come if it is no language model', async () => {
      publish(dir, '/saved/');
      const json = JSON.parse(new TextDecoder().decode(server.files.get('/saved/model.json'))) as object;
      server.files.set('/saved/model.json', Buffer.from(JSON.stringify({...json, userDefinedMetadata: {}})));
      await rejection(() => open('/saved'), 'not-a-language-model');
      expect(server.seen.filter(({path}) => path.endsWith('.bin'))).to.deep.equal([]);
    });
  });

  for (const [name, mode] of [
    ['llama3-gqa-rope', 'int8_asym'],
    ['smollm-tied-bf16', 'int8_sym'],
    ['mixtral-moe', 'int8_asym'],
  ] as const) {
    it(`makes ${name} ${mode} while it is read, as compressWeights makes it`, async () => {
      publish(tinyFolder(name), '/hf/');
      const ignored = new IgnoredScope({patterns: ['model\\.layers\\.0\\.']});
      for (const scope of [null, ignored]) {
        const float = await loadLanguageModel(tinyFolder(name));
        const wanted = languageModelOf(await compressWeights(float.model, {mode, ignoredScope: scope}));
        await expectSame(await open('/hf/', {compress: mode, compressIgnoredScope: scope}), wanted);
        wanted.dispose();
        float.dispose();
      }
    });
  }

  describe('made INT8 of a download', () => {
    /** Memory that passes for a storage that outlives the page. */
    class LastingStore extends MemoryStore {
      override readonly kind = 'opfs';
    }
    const compress = 'int8_asym';
    let lasting: LastingStore;
    let wanted: LanguageModel;
    let notices: string[];

    before(async () => {
      const float = await loadLanguageModel(join(tinyFolder('llama3-gqa-rope'), 'model-f32.gguf'));
      wanted = languageModelOf(await compressWeights(float.model));
      float.dispose();
    });
    after(() => wanted.dispose());
    beforeEach(() => {
      lasting = new LastingStore();
      notices = [];
      server.files.set('/model.gguf', GGUF);
    });

    const load = (more: OpenLanguageModelOptions = {}) =>
      open('/model.gguf', {store: lasting, compress, onNotice: (text) => notices.push(text), ...more});

    it('is stored in its place, and is there without the server the next time', async () => {
      await expectSame(await load(), wanted);
      const bytes = wanted.model.weights.reduce(
        (sum, {shape}) => sum + 4 * tf.util.sizeFromShape(shape as number[]),
        0,
      );
      const model = `${server.url}/model.gguf`;
      expect(await listCachedModels(lasting)).to.deep.equal([
        {model, files: [model], bytes, isComplete: true},
      ]);
      await server.close();
      const seen: OpenProgress[] = [];
      await expectSame(await load({onProgress: (progress) => seen.push(progress)}), wanted);
      expect(seen.find(({stage}) => stage === 'download')).to.deep.equal({
        ...{stage: 'download', file: model, receivedBytes: bytes, cachedBytes: bytes, totalBytes: bytes},
      });
      expect(notices).to.deep.equal([]);
      expect(await deleteCachedModel(model, lasting)).to.equal(1);
    });

    for (const [what, damage] of [
      [
        'a piece with a bit that flipped',
        async (entry: string) => {
          const piece = (await lasting.read(entry, '0'))!;
          piece[1000] ^= 1;
        },
      ],
      ['a piece that is gone', (entry: string) => lasting.remove(entry, '0')],
      [
        'a description that is damaged',
        async (entry: string) => {
          const text = (await lasting.read(entry, 'model.json'))!;
          text[10] ^= 1;
        },
      ],
      ['no sign that it is whole', (entry: string) => lasting.remove(entry, 'entry.json')],
    ] as const) {
      it(`is made anew when the storage has ${what}, and leaves no tensor of it`, async () => {
        (await load()).dispose();
        const [entry] = await lasting.entries();
        const tensors = tf.memory().numTensors;
        await damage(entry);
        const again = await load();
        await expectSame(again, wanted);
        expect(tf.memory().numTensors).to.equal(tensors);
        if (what.startsWith('a piece')) {
          const stored = `what is stored of ${server.url}/model.gguf is missing or damaged: it is made anew`;
          expect(notices).to.deep.equal([stored]);
        }
        await server.close();
        await expectSame(await load(), wanted);
      });
    }

    it('is no answer to another mode, other layers, none, or another checksum', async () => {
      (await load({sha256: sha256Of(GGUF)})).dispose();
      const requests = async (more: OpenLanguageModelOptions) => {
        server.seen.length = 0;
        (await load(more)).dispose();
        return server.seen.length;
      };
      expect(await requests({sha256: sha256Of(GGUF)})).to.equal(0);
      expect(await requests({})).to.equal(0);
      for (const more of [
        {compress: 'int8_sym'},
        {compressIgnoredScope: new IgnoredScope({patterns: ['lm_head']})},
        {refresh: true},
        {compress: undefined},
      ] as OpenLanguageModelOptions[]) {
        expect(await requests(more), JSON.stringify(more)).to.be.above(0);
      }
      await rejection(() => load({sha256: 'b'.repeat(64)}), 'checksum-mismatch');
    });

    it('stays a download where the storage has no room for both', async () => {
      lasting = new LastingStore(GGUF.length + 1000);
      await expectSame(await load(), wanted);
      expect(notices).to.deep.equal([
        `the storage has no room for ${server.url}/model.gguf compressed: the next load makes it of the download again`,
      ]);
      await server.close();
      await expectSame(await load(), wanted);
    });
  });

  it('opens a GGUF file that was given', async () => {
    const wanted = await loadLanguageModel(join(tinyFolder('llama3-gqa-rope'), 'model-f32.gguf'));
    await expectSame(await open(new File([GGUF], 'x.gguf')), wanted);
    await expectSame(await open(new Blob([GGUF])), wanted);
    await expectSame(await open([new File([GGUF], 'x.gguf'), new File(['hello'], 'readme.txt')]), wanted);
    wanted.dispose();
  });

  it('says what a model takes before its weights come, and refuses one that does not fit with what would', async () => {
    server.files.set('/model.gguf', GGUF);
    const wanted = await loadLanguageModel(join(tinyFolder('llama3-gqa-rope'), 'model-f32.gguf'));
    const full = memoryNeed(wanted.config);
    const asInt8 = memoryNeed(wanted.config, {compress: true});
    expect(full.weightBytes).to.equal(
      wanted.model.weights.reduce((sum, {shape}) => sum + 4 * tf.util.sizeFromShape(shape as number[]), 0),
    );
    const compressed = await compressWeights(wanted.model);
    const stored = compressed.weights.filter(({shape}) => shape.length > 0); // thresholds are not counted
    expect(asInt8.weightBytes).to.equal(
      stored.reduce((sum, {shape}) => sum + 4 * tf.util.sizeFromShape(shape as number[]), 0),
    );
    compressed.dispose();
    const {layers, keyHeads, headSize} = wanted.config;
    const tokens = Math.min(2048, wanted.config.contextLength);
    expect(full.cacheBytes).to.equal(2 * layers * tokens * keyHeads * headSize * 4);
    expect(full.totalBytes).to.equal(full.weightBytes + full.cacheBytes + full.workingBytes);
    wanted.dispose();
    const seen: OpenProgress[] = [];
    const limit = full.totalBytes - 1;
    const error = await rejection(
      () => open('/model.gguf', {memoryLimit: limit, onProgress: (progress) => seen.push(progress)}),
      'too-large-for-device',
    );
    expect(error.message)
      .to.contain(`${server.url}/model.gguf`)
      .and.to.contain("load it with compress: 'int8_asym'");
    expect(seen.find(({stage}) => stage === 'memory')).to.deep.equal({
      stage: 'memory',
      limitBytes: limit,
      ...full,
    });
    expect(seen.some(({stage}) => stage === 'weights')).to.equal(false);
    const small = await rejection(() => open('/model.gguf', {memoryLimit: 1000}), 'too-large-for-device');
    expect(small.message).to.contain('take a smaller model');
    (await open('/model.gguf', {memoryLimit: limit, compress: 'int8_asym'})).dispose();
  });

  for (const [what, compress, isSaved] of [
    ['a checkpoint', undefined, false],
    ['a checkpoint as INT8', 'int8_asym', false],
    ['a saved model', undefined, true],
    ['a saved model as INT8', 'int8_asym', true],
  ] as const) {
    it(`holds no more than the weights of ${what} while it loads them`, async () => {
      const float = await loadLanguageModel(join(tinyFolder('llama3-gqa-rope'), 'model-f32.gguf'));
      if (isSaved) await float.save(join(folder.path, 'float'));
      float.dispose();
      const backend = tf.backend();
      const [write, disposeData] = [backend.write.bind(backend), backend.disposeData.bind(backend)];
      const live = new Map<object, number>();
      let bytes = 0;
      let most = 0;
      backend.write = function (values, shape, dtype) {
        const dataId = write.call(this, values, shape, dtype);
        live.set(dataId, (values as Float32Array).byteLength);
        bytes += (values as Float32Array).byteLength;
        most = Math.max(most, bytes);
        return dataId;
      };
      backend.disposeData = function (dataId, force) {
        const isFree = disposeData.call(this, dataId, force);
        if (isFree) {
          bytes -= live.get(dataId) ?? 0;
          live.delete(dataId);
        }
        return isFree;
      };
      try {
        const lm = await open(isSaved ? filesOf(join(folder.path, 'float')) : new Blob([GGUF]), {compress});
        const {weightBytes} = memoryNeed(lm.config, {compress: compress !== undefined});
        // A saved weight comes as a tensor. Thresholds of 4 bytes a layer, and as much for each weight that is not there yet.
        const {vocabularySize, hiddenSize} = lm.config;
        const coming = isSaved && compress !== undefined ? 4 * vocabularySize * hiddenSize : 0;
        expect(most - weightBytes).to.be.within(0, coming + 1000);
        lm.dispose();
        expect(bytes).to.equal(0);
      } finally {
        Object.assign(backend, {write, disposeData});
      }
    });
  }

  it('asks the storage for room before it downloads, and says how much is missing', async () => {
    const dir = tinyFolder('llama-sharded');
    publish(dir, '/hf/');
    const small = new MemoryStore(300_000);
    const shards = [...server.files].filter(([name]) => name.endsWith('.safetensors'));
    const total = shards.reduce((sum, [, {length}]) => sum + length, 0);
    expect(total).to.be.above(300_000);
    const error = await rejection(() => open('/hf/', {store: small}), 'storage-full');
    expect(error.message).to.match(/\d+ are missing|deleteCachedModel/);
  });

  it('lists and deletes what is stored by model', async () => {
    publish(tinyFolder('llama-sharded'), '/hf/main/');
    server.files.set('/b/model.gguf', GGUF);
    (await open('/hf/main/')).dispose();
    (await open('/b/model.gguf?key=1')).dispose();
    const listed = await listCachedModels(store);
    const stored = [...server.files].filter(([path]) =>
      listed.some(({files}) => files.includes(server.url + path)),
    );
    expect(listed.map(({model, isComplete}) => [model, isComplete])).to.have.deep.members([
      [`${server.url}/hf/main/`, true],
      [`${server.url}/b/model.gguf`, true],
    ]);
    expect(listed.reduce((sum, {bytes}) => sum + bytes, 0)).to.equal(
      stored.reduce((sum, [, {length}]) => sum + length, 0),
    );
    expect(await deleteCachedModel(`${server.url}/b/model.gguf`, store)).to.equal(1);
    expect((await listCachedModels(store)).map(({model}) => model)).to.deep.equal([`${server.url}/hf/main/`]);
    await deleteCachedModel(undefined, store);
    expect(await store.entries()).to.deep.equal([]);
  });

  it('holds a GGUF file against the checksum that is given', async () => {
    server.files.set('/model.gguf', GGUF);
    await rejection(() => open('/model.gguf', {sha256: 'b'.repeat(64)}), 'checksum-mismatch');
    (await open('/model.gguf', {sha256: sha256Of(GGUF)})).dispose();
  });

  it('stops when it is aborted, in the download and between two weights, and leaves no tensor', async () => {
    server.files.set('/model.gguf', GGUF);
    const before = tf.memory().numTensors;
    for (const stage of ['download', 'weights'] as const) {
      const stop = new AbortController();
      const error = await open('/model.gguf', {
        signal: stop.signal,
        onProgress: (progress) => progress.stage === stage && stop.abort(new Error('stopped')),
      }).catch((caught: unknown) => caught);
      expect((error as Error).message).to.equal('stopped');
      expect(tf.memory().numTensors).to.equal(before);
    }
    (await open('/model.gguf')).dispose();
  });

  it('sends user and password of the address, and shows them nowhere', async () => {
    server.files.set('/model.gguf', GGUF);
    const address = `${server.url.replace('//', '//me:se%20cret@')}/model.gguf`;
    (await openLanguageModel(address, {store})).dispose();
    expect(new Set(server.seen.map(({authorization}) => authorization))).to.deep.equal(
      new Set([`Basic ${Buffer.from('me:se cret').toString('base64')}`]),
    );
    expect(JSON.stringify(await listCachedModels(store))).to.not.contain('cret');
    server.files.clear();
    const error = await rejection(() => openLanguageModel(`${address}.gguf`, {store}), 'missing-file');
    expect(error.message).to.not.contain('cret');
  });

  for (const [what, source, code, said] of [
    ['no address', 'nonsense', 'bad-option', 'no http or https URL'],
    ['another scheme', 'ftp://host/model.gguf', 'bad-option', 'no http or https URL'],
    ['an empty address', ' ', 'bad-option', 'an empty text; give an address'],
    ['nothing', undefined, 'bad-option', 'is undefined; give an address'],
    ['no files', [], 'missing-file', 'no file was given'],
    [
      'files of something else',
      [new File(['x'], 'a.txt')],
      'missing-file',
      'give the whole folder of a model',
    ],
    [
      'several GGUF files',
      [new File(['x'], 'a.gguf'), new File(['x'], 'b.gguf')],
      'ambiguous',
      'a.gguf, b.gguf',
    ],
    ['a file of another kind', new File(['hello there'], 'a.gguf'), 'not-gguf', 'does not start like a GGUF'],
  ] as [string, LanguageModelSource, string, string][]) {
    it(`refuses ${what}`, async () => {
      const error = await rejection(() => openLanguageModel(source, {store}), code);
      expect(error.message).to.contain(said);
    });
  }

  it('does not keep what a server gave in the place of a model', async () => {
    server.files.set('/model.gguf', Buffer.from('<html>not now</html>'));
    await rejection(() => open('/model.gguf'), 'not-gguf');
    expect(await listCachedModels(store)).to.deep.equal([]);
    server.files.set('/model.gguf', GGUF);
    (await open('/model.gguf')).dispose();
  });

  it('deletes a model by the address that it was loaded from', async () => {
    server.files.set('/model.gguf', GGUF);
    (await open('/model.gguf')).dispose();
    (await open('/model.gguf?part=1')).dispose();
    const [{files, isComplete}, ...others] = await listCachedModels(store);
    expect(others).to.deep.equal([]);
    expect(files).to.deep.equal([`${server.url}/model.gguf`]);
    expect(isComplete).to.equal(true);
    expect(await deleteCachedModel(`${server.url}/model.gguf?part=2`, store)).to.equal(2);
    await rejection(() => deleteCachedModel('no address', store), 'bad-option');
  });

  it('says what a folder must have', async () => {
    const error = await rejection(() => open('/nothing/'), 'missing-file');
    expect(error.message).to.contain(`${server.url}/nothing/ has neither model.json nor config.json`);
  });

  it('names the shard that is missing', async () => {
    publish(tinyFolder('llama-sharded'), '/hf/');
    const shard = [...server.files.keys()].filter((name) => name.endsWith('.safetensors')).at(-1)!;
    server.files.delete(shard);
    const error = await rejection(() => open('/hf/'), 'missing-file');
    expect(error.message).to.contain(shard).and.to.contain('download it too');
  });

  it('refuses options that it does not know', async () => {
    await rejection(() => open('/x.gguf', {sha256: 'abc'}), 'bad-option');
    await rejection(() => open('/x.gguf', {cache: true} as OpenLanguageModelOptions), 'unknown-option');
  });
});
