import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {SparsifyError} from '../../lib/errors.js';
import {checkIds} from '../../lib/serve/worker/id-check.js';
import '../support/backends.js';

describe('a model whose ids are checked', () => {
  before(() => tf.setBackend('cpu'));
  let model: tf.LayersModel;
  beforeEach(() => {
    const inner = tf.sequential({
      layers: [tf.layers.embedding({inputDim: 5, outputDim: 2, inputLength: 3, name: 'words'})],
    });
    model = tf.sequential({layers: [inner, tf.layers.flatten()]});
    checkIds(model);
  });
  afterEach(() => model.dispose());
  const compute = (ids: number[]) =>
    tf.tidy(() => (model.predictOnBatch(tf.tensor([ids], [1, 3], 'float32')) as tf.Tensor).shape);

  for (const ids of [
    [0, 1, 4],
    [4.9, -0.5, 0],
  ]) {
    it(`takes ${JSON.stringify(ids)}`, () => expect(compute(ids)).to.deep.equal([1, 6]));
  }

  for (const [ids, id] of [
    [[0, 5, 1], 5],
    [[-1, 0, 0], -1],
    [[0, 0, NaN], NaN],
    [[0, 1, Math.fround(1e38)], Math.fround(1e38)],
  ] as const) {
    it(`refuses ${id} in [${ids.join(', ')}]`, () => {
      let error: unknown;
      try {
        compute([...ids]);
      } catch (thrown) {
        error = thrown;
      }
      expect(error).to.be.instanceOf(SparsifyError);
      const {code, message, data} = error as SparsifyError;
      expect(code).to.equal('bad-id');
      const path = String(data.layer);
      expect(path).to.match(/\/?words$/);
      expect(data).to.deep.equal({id, layer: path, count: 5});
      expect(message).to.equal(`${id} is no id that "${path}" has an embedding of; it has those of 0 to 4`);
    });
  }

  it('checks no other layers', () => {
    const dense = tf.sequential({
      layers: [tf.layers.dense({units: 1, inputShape: [2], kernelInitializer: 'ones'})],
    });
    checkIds(dense);
    const value = tf.tidy(() => (dense.predictOnBatch(tf.tensor2d([[100, -7]])) as tf.Tensor).dataSync()[0]);
    expect(value).to.equal(93);
    dense.dispose();
  });
});
