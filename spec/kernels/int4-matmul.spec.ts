/** @file `sparsifiedMatMul` with INT4 weights against the definition over dequantized weights, on every backend. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {columnBlocks, compressedMatMulFallback} from '../../lib/kernels/compressed-any-backend.js';
import {
  dequantizeInt4ByOperations,
  dequantizeInt4Columns,
  dequantizeInt4Matrix,
} from '../../lib/kernels/int4-dequantize.js';
import {isInt4Matrix} from '../../lib/kernels/int4-kernels.js';
import {MAX_ROUNDED_WEIGHTS} from '../../lib/kernels/int8-kernels.js';
import {sparsifiedMatMulReference} from '../../lib/kernels/sparsified-matmul-definition.js';
import {sparsifiedMatMul} from '../../lib/kernels/sparsified-matmul.js';
import {INT4_KINDS, dequantizeInt4, type Int4Kind, type Int4Shape} from '../../lib/quantization/int4.js';
import {onEveryBackend} from '../support/backends.js';
import {failure} from '../support/io/files.js';
import {int4Tensors, int4Values} from '../support/kernels/int4-matrix.js';
import {normals} from '../support/normals.js';

const SHAPES: readonly Int4Shape[] = [
  {rows: 1, columns: 1, groupSize: 1},
  {rows: 6, columns: 17, groupSize: 3},
  {rows: 64, columns: 33, groupSize: 32},
  {rows: 40, columns: 8, groupSize: 40},
  {rows: 4, columns: 4096, groupSize: 2}, // rows are padded
];

/** More weights than are always rounded, and a few columns more than whole blocks. */
const LARGE: Int4Shape = {rows: 256, columns: 275, groupSize: 64};

type Multiply = (...args: Parameters<typeof sparsifiedMatMul>) => tf.Tensor;

const fallback: Multiply = (x, kernel, threshold, {bias, activation = 'linear'} = {}) => {
  if (!isInt4Matrix(kernel)) throw new TypeError('not INT4');
  return compressedMatMulFallback({x, kernel, threshold, bias, activation});
};

function check(shape: Int4Shape, kind: Int4Kind, rows: number, multiply: Multiply = sparsifiedMatMul): void {
  const {rows: inputSize, columns: units} = shape;
  const matrix = int4Values(shape, kind, 3);
  const kernel = dequantizeInt4(matrix);
  const x = normals(rows * inputSize, 1);
  const bias = normals(units, 2);
  const threshold = 0.6;
  const expected = sparsifiedMatMulReference({
    ...{x, kernel, threshold, bias, rows, inputSize, units},
    activation: 'relu',
  });
  const actual = tf.tidy(() =>
    multiply(tf.tensor2d(x, [rows, inputSize]), int4Tensors(matrix), tf.scalar(threshold), {
      bias: tf.tensor1d(bias),
      activation: 'relu',
    }).dataSync(),
  );
  expect(actual.length).to.equal(expected.length);
  const isLarge = inputSize * units > MAX_ROUNDED_WEIGHTS;
  for (let row = 0; row < rows; row++) {
    // Float32 summation in any order; a large kernel may leave out the weights' rounding: 2^-11 of each product.
    const sum = (column: number) => {
      let total = 0;
      for (let k = 0; k < inputSize; k++) {
        const value = x[row * inputSize + k];
        if (Math.abs(value) > threshold) total += Math.abs(value * kernel[k * units + column]);
      }
      return total;
    };
    for (let n = 0; n < units; n++) {
      const limit = sum(n) * (2 ** -23 * (inputSize + 4) + (isLarge ? 2 ** -11 : 0)) + 1e-6;
      const difference = actual[row * units + n] - expected[row * units + n];
      if (!(Math.abs(difference) <= limit))
        expect.fail(`row ${row}, unit ${n}: ${difference} exceeds ${limit}`);
    }
  }
}

describe('sparsifiedMatMul with INT4 weights', () => {
  onEveryBackend(() => {
    for (const kind of INT4_KINDS) {
      for (const shape of SHAPES) {
        const title = `${kind} [${shape.rows}, ${shape.columns}] in groups of ${shape.groupSize}`;

        it(`is the definition for ${title}, few rows and many`, () => {
          for (const rows of [1, 3, 20]) {
            check(shape, kind, rows);
            check(shape, kind, rows, fallback);
          }
        });

        it(`dequantizes ${title} as the arrays say, by operations too, and single columns`, () => {
          const matrix = int4Values(shape, kind, 5);
          const expected = dequantizeInt4(matrix);
          const columns = [0, shape.columns - 1, Math.floor(shape.columns / 2), 0];
          const [whole, operated, some] = tf.tidy(() => {
            const tensors = int4Tensors(matrix);
            return [
              dequantizeInt4Matrix(tensors).dataSync(),
              dequantizeInt4ByOperations(tensors).dataSync(),
              dequantizeInt4Columns(tensors, tf.tensor1d(columns, 'int32')).dataSync(),
            ] as unknown as Float32Array[];
          });
          const positive = (values: ArrayLike<number>) => Array.from(values, (value) => value + 0); // -0 is 0
          expect(positive(whole)).to.deep.equal(positive(expected));
          expect(positive(operated)).to.deep.equal(positive(expected));
          const wanted = columns.flatMap((column) =>
            Array.from({length: shape.rows}, (_, k) => expected[k * shape.columns + column] + 0),
          );
          expect(positive(some)).to.deep.equal(wanted);
        });
      }

      it(`is the definition for a large kernel: ${kind}`, () => {
        for (const rows of [1, 5, 12]) {
          check(LARGE, kind, rows);
          check(LARGE, kind, rows, fallback);
        }
      });
    }

    it('multiplies as defined where an input is infinite', () => {
      const matrix = int4Values(LARGE, 'asym', 1);
      const kernel = dequantizeInt4(matrix);
      const x = Float32Array.from({length: LARGE.rows}, (_, k) => (k === 5 ? Infinity : 0));
      const y = tf.tidy(() =>
        sparsifiedMatMul(tf.tensor2d(x, [1, LARGE.rows]), int4Tensors(matrix), tf.scalar(0)).dataSync(),
      );
      y.forEach((value, n) => expect(value).to.deep.equal(Infinity * kernel[5 * LARGE.columns + n]));
    });

    it('passes gradients to x where it is kept and to the bias, block by block', () => {
      // Two blocks of columns: 2^21 weights are one, and 4096 columns would have padding.
      const shape = {rows: 512, columns: 4200, groupSize: 64};
      const matrix = int4Values(shape, 'asym', 7);
      const kernel = dequantizeInt4(matrix);
      const x = Float32Array.from({length: shape.rows}, (_, k) => (k % 2 === 0 ? 1 : 0.1));
      const dy = normals(shape.columns, 9);
      const [dx, dbias] = tf.tidy(() => {
        const tensors = int4Tensors(matrix);
        expect([...columnBlocks(tensors)].map(({start, weights}) => [start, weights.shape[1]])).to.deep.equal(
          [
            [0, 4080],
            [4080, 120],
          ],
        );
        const gradients = tf.grads((input: tf.Tensor, bias: tf.Tensor) =>
          sparsifiedMatMul(input, tensors, tf.scalar(0.5), {bias: bias as tf.Tensor1D}),
        );
        const inputs = [tf.tensor2d(x, [1, shape.rows]), tf.zeros([shape.columns])];
        return gradients(inputs, tf.tensor2d(dy, [1, shape.columns])).map((tensor) => tensor.dataSync());
      }) as unknown as Float32Array[];
      dbias.forEach((value, n) => expect(value).to.be.closeTo(dy[n], 1e-6));
      for (const k of [0, 1, 2, 257, 510]) {
        let expected = 0;
        if (k % 2 === 0) {
          for (let n = 0; n < shape.columns; n++) expected += dy[n] * kernel[k * shape.columns + n];
        }
        expect(dx[k]).to.be.closeTo(expected, 2 ** -23 * shape.columns * 4); // |dy| below 4, weights below 1
      }
    });

    it('refuses parts that do not belong together', async () => {
      for (const wrong of [
        {columns: 40},
        {groupSize: 5},
        {kind: 'sym'},
        {kind: 'minimum'},
        {kind: 'other'},
      ] as const) {
        const error = await failure(() =>
          tf.tidy(() => {
            const tensors = int4Tensors(int4Values({rows: 6, columns: 17, groupSize: 3}, 'asym', 1));
            return sparsifiedMatMul(tf.ones([1, 6]), {...tensors, ...(wrong as object)}, tf.scalar(0));
          }),
        );
        expect(error.code).to.equal('shape-mismatch');
        expect(error.message).to.include('an INT4 kernel of kind');
      }
    });
  });
});
