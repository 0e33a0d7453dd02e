import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {measureLayerTimes} from '../../lib/eval/layer-times.js';
import {randomInputs} from '../../lib/eval/random-inputs.js';
import {checkForLeaks, disposeModels} from '../support/backends.js';

/** A layer that is called twice on [batch, 3, 8], and one in a wrapper that calls it for each of 3 steps. */
function model(): tf.LayersModel {
  const x = tf.input({shape: [3, 8]});
  const twice = tf.layers.dense({units: 8, activation: 'relu', name: 'twice'});
  const stepwise = tf.layers.timeDistributed({
    layer: tf.layers.dense({units: 4, activation: 'softmax', name: 'stepwise'}),
    name: 'steps',
  });
  return tf.model({
    inputs: x,
    outputs: stepwise.apply(twice.apply(twice.apply(x))) as tf.SymbolicTensor,
  });
}

describe('measureLayerTimes', () => {
  checkForLeaks();

  it('times layers on the rows that a prediction gives them, as often as it calls them', async () => {
    const timed = model();
    const inputs = randomInputs(timed, 2);
    const {layers, models} = await measureLayerTimes([timed], inputs, {sparsities: [0, 0.5], seconds: 0.05});
    expect(models).to.have.length(1);
    expect(layers.map(({rows, calls, inputSize, units}) => ({rows, calls, inputSize, units}))).to.deep.equal([
      {rows: 6, calls: 2, inputSize: 8, units: 8},
      {rows: 2, calls: 3, inputSize: 8, units: 4},
    ]);
    expect(layers[1].path).to.equal('steps/stepwise');
    expect(layers[0].times.map(({sparsity}) => sparsity)).to.deep.equal([0, 0.5]);
    tf.dispose(inputs);
    disposeModels(timed);
  });

  it('stops when it is aborted', async () => {
    const timed = model();
    const inputs = randomInputs(timed, 1);
    let error: unknown;
    try {
      await measureLayerTimes([timed], inputs, {sparsities: [0], signal: AbortSignal.abort()});
    } catch (thrown) {
      error = thrown;
    }
    expect(error).to.have.property('name', 'AbortError');
    tf.dispose(inputs);
    disposeModels(timed);
  });
});

describe('randomInputs', () => {
  checkForLeaks();

  it('refuses a model that reads ids', () => {
    const ids = tf.sequential({
      layers: [
        tf.layers.embedding({inputDim: 10, outputDim: 8, inputShape: [4]}),
        tf.layers.dense({units: 3}),
      ],
    });
    expect(() => randomInputs(ids, 1))
      .to.throw('the model reads ids')
      .with.property('code', 'data-needed');
    disposeModels(ids);
  });

  it('refuses a model of which more than the batch is open', () => {
    const open = tf.sequential({layers: [tf.layers.dense({units: 3, inputShape: [null, 4]})]});
    expect(() => randomInputs(open, 1))
      .to.throw('has the shape [any, any, 4]')
      .with.property('code', 'data-needed');
    disposeModels(open);
  });
});
