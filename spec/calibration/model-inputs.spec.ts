import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {toModelInputs} from '../../lib/calibration/model-inputs.js';
import {disposeModels, withoutLeaks} from '../support/backends.js';

describe('toModelInputs', () => {
  let one: tf.LayersModel;
  let two: tf.LayersModel;
  before(() => {
    const [x, a, b] = ['x', 'image', 'age'].map((name) => tf.input({shape: [2], name}));
    const dense = () => tf.layers.dense({units: 1});
    one = tf.model({inputs: x, outputs: dense().apply(x) as tf.SymbolicTensor});
    const outputs = [a, b].map((input) => dense().apply(input) as tf.SymbolicTensor);
    two = tf.model({inputs: [a, b], outputs});
  });
  after(() => disposeModels(one, two));

  /** The numbers of the inputs, in order; what was made for them is disposed. */
  function read(model: tf.LayersModel, item: unknown): number[][] {
    const inputs = toModelInputs(model, item, 0);
    const values = inputs.tensors.map((tensor) => [...tensor.dataSync()]);
    inputs.dispose();
    return values;
  }

  function failure(model: tf.LayersModel, item: unknown, index = 3): Error & {code: string; data: object} {
    try {
      toModelInputs(model, item, index).dispose();
    } catch (error) {
      return error as Error & {code: string; data: object};
    }
    return expect.fail('it was taken');
  }

  withoutLeaks(() => {
    let t: tf.Tensor;
    let u: tf.Tensor;
    beforeEach(() => {
      t = tf.tensor2d([[1, 2]]);
      u = tf.tensor2d([[3, 4]]);
    });
    afterEach(() => tf.dispose([t, u]));

    it('takes one input as a tensor, nested arrays, a list of one, by name, or as xs, and leaves tensors alone', () => {
      for (const item of [t, [[1, 2]], [t], {x: t}, {x: [[1, 2]]}, {xs: t, ys: u}, {xs: [t]}, {xs: {x: t}}]) {
        expect(read(one, item)).to.deep.equal([[1, 2]]);
      }
      expect(t.isDisposed).to.equal(false);
    });

    it('takes several inputs in their order, or by name in any order', () => {
      for (const item of [
        [t, u],
        {image: t, age: u},
        {age: u, image: [[1, 2]]},
        {xs: {age: u, image: t}, ys: t},
      ]) {
        expect(read(two, item)).to.deep.equal([
          [1, 2],
          [3, 4],
        ]);
      }
    });

    it('takes "xs" for a name where an input has it', () => {
      const inputs = ['xs', 'ys'].map((name) => tf.input({shape: [2], name}));
      const outputs = inputs.map((input) => tf.layers.dense({units: 1}).apply(input) as tf.SymbolicTensor);
      const model = tf.model({inputs, outputs});
      expect(read(model, {ys: u, xs: t})).to.deep.equal([
        [1, 2],
        [3, 4],
      ]);
      disposeModels(model);
    });

    it('frees what it made, and nothing else', () => {
      const before = tf.memory().numTensors;
      const inputs = toModelInputs(two, {image: t, age: [[3, 4]]}, 0);
      expect(tf.memory().numTensors).to.equal(before + 1);
      inputs.dispose();
      expect(tf.memory().numTensors).to.equal(before);
    });

    for (const [what, build, code, text] of [
      [
        'a key that is no input',
        () => ({image: t, age: u, aeg: u}),
        'wrong-inputs',
        /has the key "aeg"; .*did you mean "age"\?/,
      ],
      [
        'a key like none',
        () => ({image: t, age: u, weighting: u}),
        'wrong-inputs',
        /the key "weighting"; the model's inputs are image, age$/,
      ],
      [
        'a missing input',
        () => ({image: [[1, 2]]}),
        'wrong-inputs',
        /lacks the input "age"; the model's inputs are image, age$/,
      ],
      ['too few tensors', () => [t], 'wrong-inputs', /has 1 tensor; the model has 2 inputs \(image, age\)/],
      ['too many tensors', () => [t, u, t], 'wrong-inputs', /has 3 tensors; the model has 2 inputs/],
      ['one tensor', () => t, 'wrong-inputs', /has 1 tensor; the model has 2 inputs/],
      [
        'text',
        () => ({image: t, age: [['a', 'b']]}),
        'bad-item',
        /item 3 of the data set is .* must be a tensor/,
      ],
      [
        'another shape',
        () => [t, tf.tidy(() => tf.ones([1, 3]))],
        'wrong-shape',
        /shape \[1, 3\] for input "age"; the model takes \[any, 2\]$/,
      ],
    ] as const) {
      it(`refuses ${what}, and frees what it made before`, () => {
        tf.tidy(() => {
          const error = failure(two, build());
          expect(error).to.include({name: 'DatasetError', code});
          expect(error.message).to.match(text).and.include('item 3');
          expect(error.data).to.include({index: 3});
        });
      });
    }

    for (const [what, item, text] of [
      ['undefined', undefined, 'is undefined;'],
      ['null', null, 'is null;'],
      ['a ragged array', [[1, 2], [3]], 'is an array that is ragged or holds more than numbers;'],
      ['a deeper ragged array', [[[1], [2, 3]]], 'is an array that is ragged'],
      ['numbers beside arrays', [1, [2]], 'is an array that is ragged'],
      ['a string', 'abc', 'is a string;'],
      ['a function', () => 1, 'is a function;'],
    ] as const) {
      it(`refuses ${what}`, () => {
        const error = failure(one, item);
        expect(error).to.include({code: 'bad-item'});
        expect(error.message).to.include(text);
      });
    }

    it('hints at a batch dimension that is missing, and only then', () => {
      const flat = tf.tensor1d([1, 2]);
      expect(failure(one, flat).message).to.match(
        /shape \[2\] for input "x"; .*add one with tensor\.expandDims\(0\)$/,
      );
      const deep = tf.ones([1, 2, 2]);
      expect(failure(one, deep).message).not.to.include('expandDims');
      tf.dispose([flat, deep]);
    });
  });
});
