import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {saveLayersModel} from '../../lib/io/model/model-files.js';
import {makeSparsifying, maskingLayers} from '../../lib/model/dense-layers.js';
import {checkIds} from '../../lib/serve/worker/id-check.js';
import {WorkerModel} from '../../lib/serve/worker/worker-model.js';
import {onlyTensor} from '../../lib/tfjs.js';
import {loadLanguageModel} from '../../lib/language/load-language-model.js';
import {checkForLeaks} from '../support/backends.js';
import {stopClock} from '../support/clock.js';
import {modelFolder} from '../support/serving.js';

const TIED = fileURLToPath(new URL('../fixtures/tiny/smollm-tied-bf16', import.meta.url));
/** One with a tokenizer. */
const TINY = fileURLToPath(new URL('../fixtures/tiny/llama3-gqa-rope/model-f32.gguf', import.meta.url));
const SETTINGS = {backend: 'cpu', cacheBytes: 2 ** 30, maxSequences: 1};
const ones = {kernelInitializer: 'ones'} as const;

const embedding = (options: {inputLength: number}) =>
  tf.layers.embedding({inputDim: 50, outputDim: 1, embeddingsInitializer: 'ones', ...options});

describe('a model in a worker', () => {
  const folder = modelFolder();
  checkForLeaks();
  before(async () => {
    await tf.setBackend('cpu');
    const sum = tf.sequential({layers: [tf.layers.dense({units: 1, inputShape: [2], ...ones})]});
    await saveLayersModel(sum, join(folder.path, 'sum'));
    sum.dispose();
  });
  const load = () =>
    WorkerModel.load(join(folder.path, 'sum'), {backend: 'cpu', cacheBytes: 1, maxSequences: 1});
  const tensor = (values: number[], shape: number[]) => ({
    ...{dtype: 'float32' as const, shape, values: Float32Array.from(values)},
  });

  it('says that inputs are wrong while it computes others, and nothing of them once it is broken', async () => {
    const model = await load();
    const wrong = [tensor([1, 2, 3], [1, 3])];
    const code = async (inputs: ReturnType<typeof tensor>[]) =>
      model.predict(inputs).catch((error: {code?: string}) => error.code ?? 'none');
    expect(await code(wrong)).to.equal('cannot-compute');
    expect(await code([tensor([1, 2], [1, 2])])).to.deep.equal([tensor([3], [1, 1])]);
    model.dispose();
    expect(await code(wrong)).to.equal('none');
  });

  it('tells how sparse its inputs are, not more often than every ten seconds, and leaves no tensor', async () => {
    const path = join(folder.path, 'sparse');
    const dense = tf.sequential({
      layers: [tf.layers.dense({units: 1, inputShape: [4], name: 'sum', ...ones})],
    });
    makeSparsifying(dense, new Set(['sum']));
    for (const layer of maskingLayers(dense).values()) layer.setThreshold(0.5);
    await saveLayersModel(dense, path);
    dense.dispose();
    const model = await WorkerModel.load(path, {backend: 'cpu', cacheBytes: 1, maxSequences: 1});
    const before = tf.memory().numTensors;
    const batch = [tensor([0.25, 0.5, -0.5, 2], [1, 4])];
    const measured = await model.sparsity(batch);
    expect(measured!.mean).to.equal(0.75);
    expect(measured!.layers.map(({path, actual}) => [path, actual])).to.deep.equal([['sum', 0.75]]);
    expect(await model.sparsity(batch)).to.equal(null);
    expect(tf.memory().numTensors).to.equal(before);
    model.dispose();
  });

  it('is freed with its cache where the first text cannot be generated', async () => {
    const lm = await loadLanguageModel(TIED);
    const path = join(folder.path, 'damaged');
    const head = lm.model.getLayer('lm_head');
    tf.tidy(() => head.setWeights([tf.fill(head.getWeights()[0].shape, NaN)]));
    await lm.save(path);
    lm.dispose();
    const before = tf.memory().numTensors;
    const error = await WorkerModel.load(path, {backend: 'cpu', cacheBytes: 2 ** 30, maxSequences: 1}).catch(
      (error: unknown) => error,
    );
    expect(error).to.have.property('code', 'nan-logits');
    expect(tf.memory().numTensors).to.equal(before);
  });

  it('truncates a fraction as the layer does, and looks no further than its embeddings', () => {
    const model = tf.sequential({layers: [embedding({inputLength: 1})]});
    checkIds(model);
    const look = (id: number) => tf.tidy(() => onlyTensor(model.predict(tf.tensor2d([[id]]))).dataSync()[0]);
    for (const id of [0, -0.5, 49, 49.9]) expect(look(id)).to.equal(1);
    for (const id of [-1, 50])
      expect(() => look(id))
        .to.throw('no id')
        .with.property('code', 'bad-id');
    model.dispose();
  });

  it('tells what it takes and gives, and what of it is sparsified', async () => {
    const path = join(folder.path, 'several');
    const [a, b] = [tf.input({shape: [2], name: 'a'}), tf.input({shape: [3, 1], dtype: 'int32', name: 'b'})];
    const sum = tf.layers.dense({units: 1, name: 'sum', ...ones});
    const both = tf.layers.concatenate().apply([a, tf.layers.flatten().apply(b) as tf.SymbolicTensor]);
    const once = sum.apply(both) as tf.SymbolicTensor;
    const built = tf.model({inputs: [a, b], outputs: [once, a]});
    makeSparsifying(built, new Set(['sum']));
    await saveLayersModel(built, path);
    built.dispose();
    const model = await WorkerModel.load(path, SETTINGS);
    const {signature, ...rest} = model.info;
    expect(signature.inputs).to.deep.equal([
      {name: 'a', dtype: 'float32', shape: [null, 2]},
      {name: 'b', dtype: 'int32', shape: [null, 3, 1]},
    ]);
    expect(signature.outputs).to.deep.equal([
      {name: 'sum', dtype: 'float32', shape: [null, 1]},
      {name: 'a', dtype: 'float32', shape: [null, 2]},
    ]);
    expect(rest).to.deep.equal({
      ...{canBatch: true, isLanguageModel: false, hasTokenizer: false},
      sparsified: [{path: 'sum', target: null}],
    });
    expect(model.generation).to.equal(null);
    const inputs = [
      tensor([1, 2], [1, 2]),
      {dtype: 'int32' as const, shape: [1, 3, 1], values: Int32Array.of(3, 4, 5)},
    ];
    expect(await model.predict(inputs)).to.deep.equal([tensor([15], [1, 1]), tensor([1, 2], [1, 2])]);
    const {mean} = (await model.sparsity(inputs))!;
    expect(mean).to.equal(0);
    model.dispose();
  });

  it('may not be asked for batches where a row depends on the others, or the batch is fixed', async () => {
    const fixed = tf.sequential({layers: [tf.layers.dense({units: 1, batchInputShape: [3, 2], ...ones})]});
    await saveLayersModel(fixed, join(folder.path, 'fixed'));
    fixed.dispose();
    const model = await WorkerModel.load(join(folder.path, 'fixed'), SETTINGS);
    expect(model.info.canBatch).to.equal(false);
    expect(await model.predict([tensor([1, 2, 3, 4, 5, 6], [3, 2])])).to.deep.equal([
      tensor([3, 7, 11], [3, 1]),
    ]);
    model.dispose();
  });

  it('measures its sparsity again after ten seconds, and never without inputs or sparsified layers', async () => {
    const clock = stopClock();
    try {
      const model = await load();
      expect(await model.sparsity([tensor([1, 2], [1, 2])])).to.equal(null);
      model.dispose();
      const sparse = await WorkerModel.load(join(folder.path, 'sparse'), SETTINGS);
      const batch = [tensor([0.25, 0.5, -0.5, 2], [1, 4])];
      expect(await sparse.sparsity(null)).to.equal(null);
      expect((await sparse.sparsity(batch))!.mean).to.equal(0.75);
      clock.jump(9999);
      expect(await sparse.sparsity(batch)).to.equal(null);
      clock.jump(1);
      expect((await sparse.sparsity([tensor([1, 1, 1, 0], [1, 4])]))!.mean).to.equal(0.25);
      sparse.dispose();
    } finally {
      clock.giveBack();
    }
  });

  it('refuses a model that cannot compute what it says that it takes, and frees it', async () => {
    class Broken extends tf.layers.Layer {
      static className = 'BrokenLayerOfSpec';
      override computeOutputShape(shape: tf.Shape): tf.Shape {
        return shape;
      }
      override call(): tf.Tensor {
        throw new Error('broken in the middle');
      }
    }
    tf.serialization.registerClass(Broken);
    for (const [name, shape] of [
      ['closed', [2]],
      ['open', [null, 2]],
    ] as const) {
      const built = tf.sequential({layers: [new Broken({inputShape: [...shape]})]});
      await saveLayersModel(built, join(folder.path, name));
      built.dispose();
    }
    const before = tf.memory().numTensors;
    const error = await WorkerModel.load(join(folder.path, 'closed'), SETTINGS).catch(
      (error: unknown) => error,
    );
    expect(error).to.include({
      ...{name: 'ModelError', code: 'warm-up-failed'},
      message: 'the model cannot compute with inputs of shape [1,2]: broken in the middle',
    });
    expect(tf.memory().numTensors).to.equal(before);
    // With a size that is not known, what was tried may be what it cannot take.
    const open = await WorkerModel.load(join(folder.path, 'open'), SETTINGS);
    expect(open.info.canBatch).to.equal(false);
    const refused = await open.predict([tensor([1, 2], [1, 1, 2])]).catch((error: unknown) => error);
    expect(refused).to.include({
      ...{
        code: 'cannot-compute',
        message: 'the model cannot compute with these inputs: broken in the middle',
      },
    });
    open.dispose();
  });

  it('does not serve texts', async () => {
    const path = join(folder.path, 'text');
    const input = tf.input({shape: [2, 1], dtype: 'string', name: 'words'});
    const built = tf.model({inputs: input, outputs: tf.layers.flatten().apply(input) as tf.SymbolicTensor});
    await saveLayersModel(built, path);
    built.dispose();
    const error = await WorkerModel.load(path, SETTINGS).catch((error: unknown) => error);
    expect(error).to.include({
      ...{name: 'ModelError', code: 'unsupported-dtype'},
      message: '"words" of the model is string; float32, int32 and bool can be served',
    });
    expect(error).to.have.deep.property('data', {name: 'words', dtype: 'string'});
  });

  it('generates where it is a language model, and tells its sparsity of what it generated alone', async () => {
    const model = await WorkerModel.load(TINY, SETTINGS);
    const {isLanguageModel, hasTokenizer} = model.info;
    expect({isLanguageModel, hasTokenizer}).to.deep.equal({isLanguageModel: true, hasTokenizer: true});
    const request = {prompt: [1, 2], maxTokens: 3, temperature: 0, topP: 1, stop: []};
    const {tokens} = await model.generation!.generate(request, () => {}, new AbortController().signal);
    const lm = await loadLanguageModel(TINY);
    expect(tokens).to.deep.equal((await lm.generate([1, 2], {maxTokens: 3})).tokens);
    lm.dispose();
    expect(await model.sparsity(null)).to.equal(null);
    expect(await model.sparsity([])).to.equal(null);
    model.dispose();
  });
});
