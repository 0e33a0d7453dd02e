import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {
  KerasNormalization,
  registerNormalization,
  type KerasNormalizationArgs,
} from '../../lib/layers/normalization.js';
import {checkForLeaks} from '../support/backends.js';

describe('KerasNormalization', () => {
  before(() => tf.setBackend('cpu'));
  checkForLeaks();

  /** What the layer makes of values with these statistics. */
  function normalized(
    args: KerasNormalizationArgs,
    x: tf.Tensor,
    mean: number[],
    variance: number[],
  ): number[] {
    const layer = new KerasNormalization(args);
    layer.build(x.shape);
    const [shape] = layer.weights.map((weight) => weight.shape as number[]);
    const statistics = [mean, variance].map((values) => tf.tensor(values, shape));
    layer.setWeights(statistics);
    const y = layer.apply(x) as tf.Tensor;
    const values = [...y.dataSync()];
    expect(y.dtype).to.equal('float32');
    expect(y.shape).to.deep.equal(x.shape);
    tf.dispose([x, y, ...statistics]);
    for (const weight of layer.weights) weight.dispose();
    return values;
  }

  it('takes the mean of the last axis off, and divides by the deviation, which is at least 1e-7', () => {
    const x = tf.tensor2d([3, 2, -1, 2.5], [2, 2]);
    const [a, b, c, d] = normalized({}, x, [1, 2], [4, 0]);
    expect([a, b, c]).to.deep.equal([1, 0, -1]);
    expect(d).to.be.closeTo(0.5 / 1e-7, 1); // float32 at 5e6
  });

  it('may have statistics for other axes, in any order, or for none', () => {
    const x = () => tf.tensor3d([1, 2, 3, 4], [1, 2, 2]);
    expect(normalized({axis: 1}, x(), [1, 3], [1, 4])).to.deep.equal([0, 1, 0, 0.5]);
    // The statistics lie in the order of the axes of the input, whatever that of the argument.
    expect(normalized({axis: [-1, 1]}, x(), [0, 1, 2, 3], [1, 1, 1, 1])).to.deep.equal([1, 1, 1, 1]);
    expect(normalized({axis: [2, 1]}, x(), [0, 1, 2, 3], [1, 4, 1, 4])).to.deep.equal([1, 0.5, 1, 0.5]);
    expect(normalized({axis: null}, x(), [2], [4])).to.deep.equal([-0.5, 0, 0.5, 1]);
  });

  it('takes the last axis of any rank if none is named, and axes by their order in the input', () => {
    expect(normalized({}, tf.tensor3d([1, 2, 3, 4, 5, 6], [1, 3, 2]), [1, 2], [1, 4])).to.deep.equal([
      0, 0, 2, 1, 4, 2,
    ]);
    const layer = new KerasNormalization({axis: [-1, 1]});
    layer.build([null, 3, 2]);
    expect(layer.weights.map(({shape}) => shape)).to.deep.equal([
      [3, 2],
      [3, 2],
    ]);
    for (const weight of layer.weights) weight.dispose();
  });

  it('has the shape of its input in a graph, and passes masks on', () => {
    const layer = new KerasNormalization({});
    const y = layer.apply(tf.input({shape: [3, 2]})) as tf.SymbolicTensor;
    expect(y.shape).to.deep.equal([null, 3, 2]);
    expect(layer.supportsMasking).to.equal(true);
    for (const weight of layer.weights) weight.dispose();
  });

  it('takes whole numbers', () => {
    expect(normalized({}, tf.tensor2d([3, 1], [2, 1], 'int32'), [2], [4])).to.deep.equal([0.5, -0.5]);
  });

  it('is saved and built again with its axes, under a name that is known once it is registered', () => {
    const {classNameMap} = tf.serialization.SerializationMap.getMap();
    delete classNameMap['KerasNormalization'];
    registerNormalization();
    registerNormalization();
    expect(classNameMap['KerasNormalization'][0]).to.equal(KerasNormalization);
    for (const axis of [-1, null, [1, 2]]) {
      const again = new KerasNormalization(new KerasNormalization({name: 'n', axis}).getConfig());
      again.build([null, 3, 2]);
      expect(again.weights.map(({shape}) => shape)).to.deep.equal(
        Array(2).fill(axis === -1 ? [2] : axis === null ? [] : [3, 2]),
      );
      expect(again.trainableWeights).to.deep.equal([]);
      for (const weight of again.weights) weight.dispose();
    }
  });
});
