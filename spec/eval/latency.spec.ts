import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {measureLatency, median} from '../../lib/eval/latency.js';
import {withoutLeaks} from '../support/backends.js';

/** A model of two inputs and two outputs that counts its calls. */
function counted(): {model: tf.LayersModel; calls: () => number} {
  const inputs = [tf.input({shape: [2]}), tf.input({shape: [3]})];
  const outputs = inputs.map((input) => tf.layers.dense({units: 1}).apply(input) as tf.SymbolicTensor);
  const model = tf.model({inputs, outputs});
  let calls = 0;
  model.layers[2].setCallHook(() => {
    calls++;
  });
  return {model, calls: () => calls};
}

describe('measureLatency', () =>
  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));

    it('runs every model in every round and gives one time each', async () => {
      const models = [counted(), counted()];
      const inputs = [tf.ones([1, 2]), tf.ones([1, 3])];
      const times = await measureLatency(
        models.map(({model}) => model),
        inputs,
        {rounds: 3, warmUp: 2, together: 4},
      );
      expect(times).to.have.length(2);
      for (const time of times) expect(time).to.be.a('number').and.satisfy(Number.isFinite);
      expect(models.map(({calls}) => calls())).to.deep.equal([20, 20]);
      models.forEach(({model}) => model.dispose());
      tf.dispose(inputs); // they were left to the caller
    });
  }));

describe('median', () => {
  for (const [values, middle] of [
    [[3], 3],
    [[10, 9, 1], 9],
    [[4, 1, 3, 2], 2.5],
  ] as const) {
    it(`of ${values.join(', ')} is ${middle}`, () => {
      expect(median(values)).to.equal(middle);
    });
  }

  it('leaves the values in their order', () => {
    const values = [2, 1];
    median(values);
    expect(values).to.deep.equal([2, 1]);
  });
});
