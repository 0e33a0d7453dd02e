import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {saveLayersModel} from '../../lib/io/model/model-files.js';
import {makeSparsifying, sparsifyingLayers} from '../../lib/model/dense-layers.js';
import {checkIds} from '../../lib/serve/worker/id-check.js';
import {WorkerModel} from '../../lib/serve/worker/worker-model.js';
import {onlyTensor} from '../../lib/tfjs.js';
import {loadLanguageModel} from '../../lib/language/load-language-model.js';
import {BACKENDS, checkForLeaks} from '../support/backends.js';
import {modelFolder, serving, type Answer, type Serving} from '../support/serving.js';

/** A language model whose embeddings are its head's columns. */
const TIED = fileURLToPath(new URL('../fixtures/tiny/smollm-tied-bf16', import.meta.url));
const COUNT = 50;

async function save(layers: tf.layers.Layer[], path: string): Promise<void> {
  const model = tf.sequential({layers});
  await saveLayersModel(model, path);
  model.dispose();
}

const ones = {kernelInitializer: 'ones'} as const;
const embedding = (args: object = {}) =>
  tf.layers.embedding({inputDim: COUNT, outputDim: 1, embeddingsInitializer: 'ones', ...args});

/** Adds what two inputs of any length have, which must be as many. */
async function savePairModel(path: string): Promise<void> {
  const inputs = ['a', 'b'].map((name) => tf.input({shape: [null], name}));
  const outputs = tf.layers.add({name: 'sum'}).apply(inputs) as tf.SymbolicTensor;
  const model = tf.model({inputs, outputs});
  await saveLayersModel(model, path);
  model.dispose();
}

for (const backend of BACKENDS) {
  describe(`inputs that a model cannot compute with, on ${backend}`, function () {
    this.timeout(120_000);
    const folder = modelFolder();
    let served: Serving;
    before(async () => {
      const path = (name: string) => join(folder.path, name);
      await save([embedding({inputLength: 3}), tf.layers.globalAveragePooling1d({})], path('tokens'));
      const inner = tf.sequential({layers: [embedding({inputLength: 3})]});
      await save([tf.layers.reshape({targetShape: [3], inputShape: [3]}), inner], path('nested'));
      const wrapped = tf.layers.timeDistributed({layer: embedding(), inputShape: [1, 3]});
      await save([wrapped], path('wrapped'));
      await save(
        [tf.layers.conv1d({filters: 1, kernelSize: 4, inputShape: [null, 1], ...ones})],
        path('conv'),
      );
      await savePairModel(path('pair'));
      const names = ['tokens', 'nested', 'wrapped', 'conv', 'pair'];
      served = await serving({
        models: [...names.map((name) => ({name, path: path(name)})), {name: 'tied', path: TIED}],
        pool: {backend: backend === 'tensorflow' ? 'node' : backend},
      });
    });
    after(() => served.server.close());

    const row = (model: string, ids: string) =>
      served.post(`/v1/models/${model}:predict`, `{"instances":[${ids}]}`);
    const expectRefusal = ({status, json}: Answer, ...texts: string[]) => {
      expect(status, JSON.stringify(json)).to.equal(400);
      for (const text of texts) expect((json as {error: string}).error).to.contain(text);
    };

    for (const id of ['50', '1000', '-1', '1e38', '-1e38', '4294967296', '2147483648']) {
      it(`refuse id ${id}, in row form and column form`, async () => {
        expectRefusal(await row('tokens', `[1,2,${id}]`), 'no id that "', '0 to 49');
        expectRefusal(await served.post('/v1/models/tokens:predict', `{"inputs":[[1,2,${id}]]}`), '0 to 49');
      });
    }

    for (const id of [50, -1, 1e38, NaN, Infinity]) {
      it(`refuse id ${id} as binary data`, async () => {
        const name = ((await served.get('/v2/models/tokens')).json as {inputs: {name: string}[]}).inputs[0]
          .name;
        const parameters = {binary_data_size: 12};
        const head = JSON.stringify({inputs: [{name, shape: [1, 3], datatype: 'FP32', parameters}]});
        const body = Buffer.concat([Buffer.from(head), Buffer.from(Float32Array.of(0, 49, id).buffer)]);
        const headers = {'inference-header-content-length': String(head.length)};
        const response = await fetch(`${served.url}/v2/models/tokens/infer`, {
          ...{method: 'POST', body, headers: {...headers, 'content-type': 'application/octet-stream'}},
        });
        expect(response.status).to.equal(400);
        expect(await response.json())
          .to.have.property('error')
          .that.contains(`${Math.fround(id)} is no id`);
      });
    }

    it('are none for the first and the last id, beside others that are', async () => {
      const answers = await Promise.all([
        row('tokens', '[0,49,1]'),
        row('tokens', '[0,1,50]'),
        row('tokens', '[3,4,5]'),
      ]);
      expect(answers.map(({status}) => status)).to.deep.equal([200, 400, 200]);
      expect(answers[0].json).to.deep.equal({predictions: [[1]]});
    });

    it('refuse ids of an embedding within a model and within a wrapper', async () => {
      expectRefusal(await row('nested', '[0,1,50]'), '50 is no id', '0 to 49');
      expect((await row('nested', '[0,1,49]')).status).to.equal(200);
      expectRefusal(await row('wrapped', '[[0,1,-1]]'), '-1 is no id');
      expect((await row('wrapped', '[[0,1,49]]')).status).to.equal(200);
    });

    it('refuse ids beyond the vocabulary of a language model', async () => {
      expectRefusal(await row('tied', '[0,1,1000000]'), '1000000 is no id');
      expectRefusal(await row('tied', '[-1]'), '-1 is no id');
      expect((await row('tied', '[0,1]')).status).to.equal(200);
    });

    it('refuse sizes that only a layer can tell are wrong', async () => {
      expectRefusal(await row('conv', '[[1],[1]]'), 'cannot compute with these inputs');
      expect((await row('conv', '[[1],[2],[3],[4]]')).json).to.deep.equal({predictions: [[[10]]]});
      expectRefusal(await row('pair', '{"a":[1,2],"b":[1,2,3]}'), 'cannot compute with these inputs');
      expect((await row('pair', '{"a":[1,2],"b":[1,2]}')).json).to.deep.equal({predictions: [[2, 4]]});
    });
  });
}

describe('a model in a worker', () => {
  const folder = modelFolder();
  checkForLeaks();
  before(async () => {
    await tf.setBackend('cpu');
    await save([tf.layers.dense({units: 1, inputShape: [2], ...ones})], join(folder.path, 'sum'));
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
    for (const layer of sparsifyingLayers(dense).values()) layer.setThreshold(0.5);
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
});
