import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {
  SparsifyingDense,
  toSparsifyingDense,
  isPlainDense,
  isSparsifyingDense,
  toPlainDense,
} from '../../lib/layers/sparsifying-dense.js';
import type {DenseLayer} from '../../lib/tfjs.js';
import {checkForLeaks} from '../support/backends.js';

/** A Dense of the identity with a bias of ones, on [n, 3]. */
const ARGS = {name: 'd', units: 3, kernelInitializer: 'identity', biasInitializer: 'ones'} as const;

const apply = (layer: tf.layers.Layer, ...values: number[]) =>
  tf.tidy(() => [...(layer.apply(tf.tensor2d([values])) as tf.Tensor).dataSync()]);
const dispose = (layer: tf.layers.Layer) => layer.weights.forEach((weight) => weight.dispose());

describe('SparsifyingDense', () => {
  checkForLeaks();
  before(() => tf.setBackend('cpu'));

  it('masks nothing until it has a threshold, then what is no larger, and says what it was asked for', () => {
    const layer = new SparsifyingDense({...ARGS, targetSparsity: 0.25, reachedSparsity: 0.3});
    expect(layer.threshold).to.equal(null);
    expect(layer.getConfig()).to.deep.include({targetSparsity: 0.25, reachedSparsity: 0.3});
    expect(layer.getConfig()).to.not.have.property('int8');
    expect(apply(layer, 0, -2, 3)).to.deep.equal([1, -1, 4]);
    expect(layer.threshold!.read().dataSync()[0]).to.equal(-Infinity);
    expect(layer.weights.map(({originalName, trainable}) => [originalName, trainable])).to.deep.equal([
      ['d/kernel', true],
      ['d/bias', true],
      ['d/threshold', false],
    ]);
    layer.setThreshold(2, 0.5);
    expect(apply(layer, 0, -2, 3)).to.deep.equal([1, 1, 4]);
    expect(layer).to.deep.include({targetSparsity: 0.25, reachedSparsity: 0.5});
    layer.setThreshold(2.5);
    expect(layer.reachedSparsity).to.equal(null);
    const none = tf.scalar(-Infinity);
    const dense = tf.tidy(() => [...layer.outputAt(tf.tensor2d([[0, -2, 3]]), none).dataSync()]);
    expect(dense).to.deep.equal([1, -1, 4]);
    none.dispose();
    dispose(layer);
  });

  it('applies its activation once, one that is fused and one that is not', () => {
    const values = ['relu', 'softsign', undefined].map((activation) => {
      const layer = new SparsifyingDense({...ARGS, activation: activation as 'relu'});
      const made = apply(layer, 1, -3, 0);
      dispose(layer);
      return made;
    });
    expect(values[0]).to.deep.equal([2, 0, 1]);
    values[1].forEach((value, i) => expect(value).to.be.closeTo([2 / 3, -2 / 3, 1 / 2][i], 1e-6));
    expect(values[2]).to.deep.equal([2, -2, 1]);
  });

  it('tells its hook what it is called with', () => {
    const layer = new SparsifyingDense(ARGS);
    const seen: number[][] = [];
    layer.setCallHook((input) => seen.push([...[input].flat()[0].dataSync()]));
    apply(layer, 1, 2, 3);
    expect(seen).to.deep.equal([[1, 2, 3]]);
    dispose(layer);
  });

  it('has a kernel of INT8 where it is told so', () => {
    const layer = new SparsifyingDense({...ARGS, int8: 'sym'});
    layer.build([null, 3]);
    expect(layer.getConfig()).to.deep.include({int8: 'sym', targetSparsity: null, reachedSparsity: null});
    expect(layer.nonTrainableWeights.map(({originalName}) => originalName)).to.deep.equal([
      'kernel_int8',
      'kernel_scale',
      'kernel_zero_point',
      'threshold',
    ]);
    expect(apply(layer, 1, 2, 3)).to.deep.equal([1, 1, 1]); // a kernel of zeros
    dispose(layer);
  });

  it('is what a Dense becomes, and that again: nothing of it is left', () => {
    const layer = tf.layers.dense(ARGS) as unknown as DenseLayer;
    const before = apply(layer, 0, -2, 3);
    const fields = Object.keys(layer).sort();
    expect([isPlainDense(layer), isSparsifyingDense(layer)]).to.deep.equal([true, false]);
    const adopted = toSparsifyingDense(layer);
    expect(adopted).to.equal(layer);
    expect([isPlainDense(layer), isSparsifyingDense(layer)]).to.deep.equal([false, true]);
    expect(apply(layer, 0, -2, 3)).to.deep.equal(before);
    expect(adopted).to.deep.include({targetSparsity: null, reachedSparsity: null, compression: null});
    expect(adopted.nonTrainableWeights.map(({originalName}) => originalName)).to.deep.equal(['d/threshold']);
    adopted.setThreshold(2);
    expect(apply(layer, 0, -2, 3)).to.deep.equal([1, 1, 4]);
    const threshold = adopted.threshold!;
    expect(toPlainDense(adopted)).to.equal(layer);
    expect(() => threshold.read().dataSync()).to.throw('disposed');
    expect([isPlainDense(layer), isSparsifyingDense(layer)]).to.deep.equal([true, false]);
    expect(Object.keys(layer).sort()).to.deep.equal(fields);
    expect(layer.nonTrainableWeights).to.deep.equal([]);
    expect(apply(layer, 0, -2, 3)).to.deep.equal(before);
    dispose(layer);
  });

  it('is no plain Dense, nor is a subclass', () => {
    class Other extends (Object.getPrototypeOf(SparsifyingDense) as typeof SparsifyingDense) {}
    expect(isPlainDense(new Other(ARGS))).to.equal(false);
    expect(isPlainDense(tf.layers.reLU())).to.equal(false);
  });
});
