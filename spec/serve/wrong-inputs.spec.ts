import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {saveLayersModel} from '../../lib/io/model/model-files.js';
import {BACKENDS} from '../support/backends.js';
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
