import {expect} from 'chai';
import {asFloat32, pickNames, toTensor, type TensorOptions} from '../../../lib/io/data/array-batches.js';
import type {NumericArray} from '../../../lib/io/data/npy-values.js';
import {checkForLeaks} from '../../support/backends.js';
import {failure} from '../../support/io/files.js';

const BYTES: NumericArray = {values: Int32Array.of(0, 51, 255), shape: [3, 1], dtype: 'int32'};
const FLOATS: NumericArray = {values: Float32Array.of(0.5, -2, 7), shape: [3], dtype: 'float32'};
const DOUBLES: NumericArray = {values: Float64Array.of(0.5, -2, 2 ** 24 + 2), shape: [3], dtype: 'float32'};
const BOOLS: NumericArray = {values: Uint8Array.of(1, 0, 1), shape: [1, 3], dtype: 'bool'};
const WHOLE: NumericArray = {
  values: Float64Array.of(-(2 ** 31), 2 ** 31 - 1, -0),
  shape: [3],
  dtype: 'float32',
};

/** An array, how it is read, and the tensor that it becomes. */
const TENSORS: readonly (readonly [
  what: string,
  array: NumericArray,
  options: TensorOptions,
  dtype: 'float32' | 'int32' | 'bool',
  values: readonly number[],
])[] = [
  ['integers as they are', BYTES, {}, 'int32', [0, 51, 255]],
  ['integers as float32', BYTES, {dtype: 'float32'}, 'float32', [0, 51, 255]],
  ['scaled integers as float32', BYTES, {scale: 2}, 'float32', [0, 102, 510]],
  ['scaled integers as int32 where asked for', BYTES, {scale: 2, dtype: 'int32'}, 'int32', [0, 102, 510]],
  ['floats as they are', FLOATS, {}, 'float32', [0.5, -2, 7]],
  ['scaled floats', FLOATS, {scale: -2}, 'float32', [-1, 4, -14]],
  ['doubles as float32', DOUBLES, {}, 'float32', [0.5, -2, 2 ** 24 + 2]],
  ['the edges of int32', WHOLE, {dtype: 'int32'}, 'int32', [-(2 ** 31), 2 ** 31 - 1, 0]],
  ['bool as it is', BOOLS, {}, 'bool', [1, 0, 1]],
  ['bool as float32', BOOLS, {dtype: 'float32'}, 'float32', [1, 0, 1]],
  ['scaled bool as float32', BOOLS, {scale: 3}, 'float32', [3, 0, 3]],
];

/** What TensorFlow.js keeps the values of a dtype in. */
const ARRAYS = {float32: Float32Array, int32: Int32Array, bool: Uint8Array};

describe('toTensor', () => {
  checkForLeaks();

  for (const [what, array, options, dtype, values] of TENSORS) {
    it(`reads ${what}`, () => {
      const tensor = toTensor(array, options, 'x.npy');
      expect(tensor.dtype).to.equal(dtype);
      expect(tensor.shape).to.deep.equal(array.shape);
      const found = tensor.dataSync();
      expect(found).to.be.instanceOf(ARRAYS[dtype]);
      expect([...found].map((value) => value + 0)).to.deep.equal(values);
      tensor.dispose();
    });
  }

  it('scales before float32 rounds', () => {
    const tensor = toTensor({...DOUBLES, values: Float64Array.of(2 ** 24 + 1, 3, 1)}, {scale: 1 / 3}, 'x');
    expect([...tensor.dataSync()]).to.deep.equal([(2 ** 24 + 1) / 3, 1, 1 / 3].map(Math.fround));
    tensor.dispose();
  });

  for (const [value, scale] of [
    [0.5, undefined],
    [2 ** 31, undefined],
    [-(2 ** 31) - 1, undefined],
    [NaN, undefined],
    [Infinity, undefined],
    [3, 0.5],
  ] as const) {
    it(`refuses ${value}${scale === undefined ? '' : ` times ${scale}`} as int32`, async () => {
      const array: NumericArray = {values: Float64Array.of(4, value), shape: [2], dtype: 'float32'};
      const error = await failure(() => toTensor(array, {dtype: 'int32', scale}, 'x.npy'));
      const bad = value * (scale ?? 1);
      expect(error).to.include({
        name: 'FileError',
        code: 'out-of-range',
        message: `x.npy: ${bad} is no int32: read it as float32`,
      });
      expect(error.data).to.deep.equal({path: 'x.npy', value: bad});
    });
  }
});

describe('asFloat32', () => {
  it('keeps float32 and rounds the rest once', () => {
    const floats = Float32Array.of(1, Infinity, NaN);
    expect(asFloat32(floats, 'x')).to.equal(floats);
    expect(asFloat32(Int32Array.of(2 ** 24 + 1, -3), 'x')).to.deep.equal(Float32Array.of(2 ** 24, -3));
    expect(asFloat32(Float64Array.of(3.4e38, -Infinity, NaN), 'x')).to.deep.equal(
      Float32Array.of(3.4e38, -Infinity, NaN),
    );
  });

  it('refuses a finite value that would become an infinity, and says which', async () => {
    const error = await failure(() => asFloat32(Float64Array.of(Infinity, NaN, 1, -1e39, 1e40), 'x.npy'));
    expect(error).to.include({
      name: 'FileError',
      code: 'out-of-range',
      message:
        'x.npy: -1e+39 (value 3 of a batch) is beyond float32, whose largest is 3.4e38: scale the data, or leave that item out',
    });
    expect(error.data).to.deep.equal({path: 'x.npy', value: -1e39});
    expect((await failure(() => asFloat32(Float64Array.of(1e39), 'y'))).data).to.include({value: 1e39});
  });
});

describe('pickNames', () => {
  const known = ['image', 'age', 'weight'];

  it('gives all in their order, or those that are wanted in the wanted order', () => {
    expect(pickNames(known, undefined, 'x')).to.deep.equal(known);
    expect(pickNames(known, ['weight', 'image'], 'x')).to.deep.equal(['weight', 'image']);
    expect(pickNames(known, [], 'x')).to.deep.equal([]);
  });

  it('names the nearest to one that is not there, or all', async () => {
    const near = await failure(() => pickNames(known, ['age', 'imagee'], 'x.npz'));
    expect(near).to.include({name: 'FileError', code: 'unknown-name'});
    expect(near.message).to.equal('x.npz has no array "imagee"; nearest: image, age');
    expect(near.data).to.deep.equal({path: 'x.npz', name: 'imagee', known});
    const far = await failure(() => pickNames(known, ['something else'], 'x.npz'));
    expect(far.message).to.equal('x.npz has no array "something else"; it has: image, age, weight');
  });
});
