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
import {sparsifiedMatMul} from '../../lib/kernels/sparsified-matmul.js';
import {INT4_KINDS, dequantizeInt4, type Int4Kind, type Int4Shape} from '../../lib/quantization/int4.js';
import {onEveryBackend} from '../support/backends.js';
import {failure} from '../support/io/files.js';
import {checkInt4MatMul, type Multiply} from '../support/kernels/int4-matmul-check.js';
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

/** Groups and columns of every kind of rest, in more weights than are always rounded. */
const UNEVEN: readonly Int4Shape[] = [
  {rows: 66, columns: 1041, groupSize: 33},
  {rows: 70, columns: 1001, groupSize: 1},
  {rows: 2111, columns: 33, groupSize: 2111},
  {rows: 4500, columns: 15, groupSize: 45},
  {rows: 20, columns: 4096, groupSize: 10},
];

const fallback: Multiply = (x, kernel, threshold, {bias, activation = 'linear'} = {}) => {
  if (!isInt4Matrix(kernel)) throw new TypeError('not INT4');
  return compressedMatMulFallback({x, kernel, threshold, bias, activation});
};

function check(shape: Int4Shape, kind: Int4Kind, count: number, multiply?: Multiply): void {
  checkInt4MatMul({...shape, kind, count, multiply});
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

    for (const shape of UNEVEN) {
      it(`is the definition for [${shape.rows}, ${shape.columns}] in groups of ${shape.groupSize}`, () => {
        for (const [i, kind] of INT4_KINDS.entries()) {
          for (const count of [1, 2 + i]) check(shape, kind, count);
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
