/** @file `sparsifiedMatMul` with INT8 kernels on every backend, against the definition over dequantized weights. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import fc from 'fast-check';
import {FUSED_ACTIVATIONS} from '../../lib/kernels/activations.js';
import {columnBlocks, compressedMatMulFallback} from '../../lib/kernels/compressed-any-backend.js';
import type {Int8Matrix} from '../../lib/kernels/int8-kernels.js';
import {
  dequantizeByOperations,
  dequantizeColumns,
  dequantizeRows,
  dequantizeSomeColumns,
} from '../../lib/kernels/int8-dequantize.js';
import {sparsifiedMatMul} from '../../lib/kernels/sparsified-matmul.js';
import {roundToFloat16} from '../../lib/quantization/float16.js';
import {INT8_MODES, dequantizeInt8, quantizeInt8} from '../../lib/quantization/int8.js';
import {onEveryBackend} from '../support/backends.js';
import {checkInt8MatMul, quantized, tensorsOf, type Multiply} from '../support/kernels/int8-matmul-check.js';
import {ROWS, SHAPES, SPARSITIES} from '../support/kernels/matmul-check.js';
import {normals} from '../support/normals.js';

/** What a backend without a kernel of ours does, even if this one has one. */
const byFallback: Multiply = (x, kernel, threshold, {bias, activation = 'linear'} = {}) =>
  compressedMatMulFallback({x, kernel: kernel as Int8Matrix, threshold, bias, activation});

describe('sparsifiedMatMul, INT8', () => {
  onEveryBackend(() => {
    for (const mode of INT8_MODES) {
      for (const sparsity of SPARSITIES) {
        for (const [inputSize, units] of SHAPES) {
          it(`equals the reference for ${inputSize} x ${units} at sparsity ${sparsity}, ${mode}`, () => {
            for (const rows of ROWS) checkInt8MatMul({rows, inputSize, units, sparsity, mode});
          });
        }
      }
    }

    for (const units of [1, 2, 3, 4, 5, 8, 15, 16, 17]) {
      it(`adds the bias of a layer of ${units} units`, () => {
        for (const multiply of [sparsifiedMatMul, byFallback]) {
          for (const rows of [1, 3, 20]) {
            for (const sparsity of [0, 0.5, 1]) {
              checkInt8MatMul({rows, inputSize: 13, units, sparsity, bias: true}, 3, multiply);
            }
          }
        }
      });
    }

    it('equals the reference for every number of rows to 33, with every rest of inputs and units', () => {
      for (let rows = 1; rows <= 33; rows++) {
        const activation = FUSED_ACTIVATIONS[rows % FUSED_ACTIVATIONS.length];
        const options = {bias: rows % 2 === 0, perInput: rows % 3 === 0, activation};
        checkInt8MatMul({rows, inputSize: 16 + rows, units: 49 - rows, sparsity: 0.6, ...options}, rows);
        checkInt8MatMul(
          {rows, inputSize: 50 - rows, units: rows, sparsity: 0.2, mode: 'int8_sym', bias: true},
          rows,
        );
      }
    });

    it('equals the reference for any shape, sparsity and size of weights', () => {
      const shapes = fc.record({
        rows: fc.integer({min: 1, max: 9}),
        inputSize: fc.integer({min: 1, max: 70}),
        units: fc.integer({min: 1, max: 70}),
        sparsity: fc.double({min: 0, max: 1, noNaN: true}),
        perInput: fc.boolean(),
        bias: fc.boolean(),
        activation: fc.constantFrom(...FUSED_ACTIVATIONS),
        mode: fc.constantFrom(...INT8_MODES),
        scale: fc.constantFrom(1e-6, 1e-4, 0.03, 1, 50),
      });
      fc.assert(
        fc.property(shapes, fc.nat(), (shape, seed) => checkInt8MatMul(shape, seed)),
        {numRuns: 60, seed: 7},
      );
    });

    for (const units of [30, 259]) {
      it(`equals the reference without a kernel of its own, ${units} units`, () => {
        for (const rows of [1, 8, 9]) {
          checkInt8MatMul(
            {rows, inputSize: 261, units, sparsity: 0.5, bias: true, activation: 'tanh'},
            5,
            byFallback,
          );
        }
      });
    }

    it('dequantizes every byte beside bytes of every sign, with any scale, exactly as the definition', () => {
      // Every byte at each place of a word, the others all the same: words next to multiples of 2^24 among them.
      const others = [0, -1, 127, -128];
      const rows = 256 * 8 * others.length;
      const values = new Int8Array(rows * 8).map((_, i) => {
        const [row, column] = [i >> 3, i & 7];
        return (row >> 8) % 8 === column ? (row & 255) - 128 : others[row >> 11];
      });
      const scale = Float32Array.of(
        1,
        -0.5,
        2 ** -9,
        2 ** -24,
        -132 * 2 ** -24,
        2 ** -14,
        200,
        1365 * 2 ** -12,
      );
      const zeroPoint = Float32Array.of(0, 0, -128, 127, 0, 5, -3, 1);
      const matrix = {rows, columns: 8, stride: 8, channels: 'columns', values, scale, zeroPoint} as const;
      const expected = Float32Array.from(values, (q, i) =>
        roundToFloat16(scale[i & 7] * (q - zeroPoint[i & 7])),
      );
      const positive = (weights: Float32Array) => [...weights].map((w) => w + 0);
      expect(positive(dequantizeInt8(matrix))).to.deep.equal(positive(expected));
      for (const dequantize of [dequantizeColumns, dequantizeByOperations]) {
        const actual = tf.tidy(() => dequantize(tensorsOf(matrix)).dataSync() as Float32Array);
        expect(positive(actual)).to.deep.equal(positive(expected));
      }
    });

    for (const [rows, columns] of [
      [5, 4],
      [7, 9],
      [20, 30],
    ]) {
      it(`looks up rows, and columns as rows, of ${rows} x ${columns}`, () => {
        for (const mode of INT8_MODES) {
          const ids = [0, 3, 1, 3];
          const byRow = quantized({rows, columns, channels: 'rows'}, 3, 0.2, mode);
          const byColumn = quantized({rows, columns, channels: 'columns'}, 4, 0.2, mode);
          const [rowsFound, columnsFound] = tf.tidy(() => {
            const wanted = tf.tensor1d(ids, 'int32');
            return [
              dequantizeRows(tensorsOf(byRow), wanted, columns).arraySync(),
              dequantizeSomeColumns(tensorsOf(byColumn), wanted).arraySync(),
            ] as unknown as [number[][], number[][]];
          });
          const positive = (values: number[][]) => values.map((row) => row.map((w) => w + 0));
          const [a, b] = [dequantizeInt8(byRow), dequantizeInt8(byColumn)];
          expect(positive(rowsFound)).to.deep.equal(
            positive(ids.map((row) => [...a.subarray(row * columns, (row + 1) * columns)])),
          );
          expect(positive(columnsFound)).to.deep.equal(
            positive(ids.map((c) => Array.from({length: rows}, (_, k) => b[k * columns + c]))),
          );
        }
      });
    }

    it('dequantizes a large matrix in blocks that together are the whole', () => {
      const [inputSize, units] = [2048, 2051]; // 2^22: two blocks and a rest
      const matrix = quantized({rows: inputSize, columns: units, channels: 'columns'}, 5, 0.1, 'int8_asym');
      tf.tidy(() => {
        const kernel = tensorsOf(matrix);
        const blocks = [...columnBlocks(kernel)];
        expect(blocks.map(({start}) => start)).to.deep.equal([0, 1024, 2048]);
        const joined = tf.concat(
          blocks.map(({weights}) => weights),
          1,
        );
        expect(tf.max(tf.abs(tf.sub(joined, dequantizeColumns(kernel)))).dataSync()[0]).to.equal(0);
      });
      checkInt8MatMul({rows: 2, inputSize, units, sparsity: 0.5, bias: true});
    });

    for (const units of [256, 259]) {
      it(`equals the reference for a large matrix of ${units} columns, by few rows and by more`, () => {
        for (const rows of [1, 3, 8, 9])
          checkInt8MatMul({rows, inputSize: 261, units, sparsity: 0.5, bias: true});
        checkInt8MatMul({rows: 1, inputSize: 261, units, sparsity: 0, mode: 'int8_sym', activation: 'gelu'});
        checkInt8MatMul({rows: 2, inputSize: 261, units, sparsity: 0.9, perInput: true, activation: 'relu'});
        checkInt8MatMul({rows: 2, inputSize: 261, units, sparsity: 1});
      });
    }

    it('keeps NaN and infinity of the input in a large matrix', () => {
      const shape = {rows: 300, columns: 260, channels: 'columns'} as const;
      // Positive weights, of which the small ones have a byte of the zero point's sign.
      const weights = new Float32Array(300 * 260).map((_, i) => (1 + (i % 7)) / 7);
      const matrix = quantizeInt8(weights, shape, 'int8_asym');
      for (const [value, result] of [
        [NaN, NaN],
        [-Infinity, -Infinity],
      ]) {
        const x = new Float32Array(300).fill(1);
        x[7] = value;
        const y = tf.tidy(() =>
          Array.from(sparsifiedMatMul(tf.tensor2d(x, [1, 300]), tensorsOf(matrix), tf.scalar(2)).dataSync()),
        );
        expect([...new Set(y)]).to.deep.equal([result]);
      }
    });

    it('reads a matrix that was made on another backend', async () => {
      const backend = tf.getBackend();
      const shape = {rows: 300, columns: 260, channels: 'columns'} as const;
      const matrix = quantized(shape, 11, 0.1, 'int8_asym');
      await tf.setBackend('cpu');
      const [x, threshold] = [tf.ones([1, 300]), tf.scalar(0)];
      const kernel = tensorsOf(matrix);
      const expected = sparsifiedMatMul(x, kernel, threshold);
      await tf.setBackend(backend);
      const actual = sparsifiedMatMul(x, kernel, threshold);
      const difference = tf.tidy(() => tf.max(tf.abs(tf.sub(actual, expected))));
      expect(difference.dataSync()[0]).to.be.below(2 ** -23 * 304 * 2);
      tf.dispose([x, threshold, expected, actual, difference, kernel.values, kernel.scale, kernel.zeroPoint]);
    });

    it('keeps NaN of the input, masks ties, and keeps leading dimensions', () => {
      const matrix = quantizeInt8(
        Float32Array.of(1, 1, 1, 1),
        {rows: 2, columns: 2, channels: 'columns'},
        'int8_asym',
      );
      tf.tidy(() => {
        const kernel = tensorsOf(matrix);
        const y = sparsifiedMatMul(tf.tensor2d([[NaN, 1], [2, 0.5]]), kernel, tf.scalar(0.5)); // prettier-ignore
        expect([...y.dataSync()]).to.deep.equal([NaN, NaN, 2, 2]);
        expect(sparsifiedMatMul(tf.ones([2, 3, 2]), kernel, tf.scalar(0)).shape).to.deep.equal([2, 3, 2]);
        expect(sparsifiedMatMul(tf.ones([2]), kernel, tf.scalar(0)).shape).to.deep.equal([2]);
        const integers = tf.tensor2d([[1, 2]], [1, 2], 'int32');
        expect([...sparsifiedMatMul(integers, kernel, tf.scalar(1)).dataSync()]).to.deep.equal([2, 2]);
      });
    });

    for (const activation of FUSED_ACTIVATIONS) {
      it(`has the gradient of the dequantized product in x and the bias, through ${activation}`, () => {
        const matrix = quantized({rows: 6, columns: 5, channels: 'columns'}, 8, 0.4, 'int8_asym');
        const [actual, expected] = tf.tidy(() => {
          const x = tf.tensor2d(normals(18, 3), [3, 6]);
          const bias = tf.tensor1d(normals(5, 5));
          const dy = tf.tensor2d(normals(15, 6), [3, 5]);
          const float = tf.tensor2d(dequantizeInt8(matrix), [6, 5]);
          const int8 = tensorsOf(matrix);
          return [int8, float].map((kernel) =>
            tf
              .grads((x, bias) =>
                sparsifiedMatMul(x, kernel, tf.scalar(0.5), {bias: bias as tf.Tensor1D, activation}),
              )([x, bias], dy)
              .flatMap((gradient) => [...gradient.dataSync()]),
          ) as [number[], number[]];
        });
        expect(actual.length).to.equal(expected.length);
        expected.forEach((value, i) => expect(actual[i]).to.be.closeTo(value, 1e-5));
      });
    }

    it('has the gradient in x of a matrix of more than one block', () => {
      const [inputSize, units] = [2048, 1030]; // 1,024 columns, and 6
      const dy = normals(units, 4);
      const values = new Int8Array(inputSize * 1032).map((_, i) => (i * 7) % 251);
      const scale = Float32Array.from({length: units}, (_, n) => 2 ** -((n % 3) + 6));
      const zeroPoint = Float32Array.from({length: units}, (_, n) => (n % 17) - 8);
      const actual = tf.tidy(() => {
        const kernel = {
          values: tf.tensor2d(new Int32Array(values.buffer), [inputSize, 258], 'int32'),
          scale: tf.tensor1d(scale),
          zeroPoint: tf.tensor1d(zeroPoint),
        };
        return tf
          .grad((x) => sparsifiedMatMul(x, kernel, tf.scalar(0.5)))(
            tf.tensor2d(
              Float32Array.from({length: inputSize}, (_, k) => k % 2),
              [1, inputSize],
            ),
            tf.tensor2d(dy, [1, units]),
          )
          .dataSync();
      });
      for (let k = 0; k < inputSize; k++) {
        let expected = 0;
        for (let n = 0; n < units; n++) {
          if (k % 2 === 1) expected += dy[n] * scale[n] * (values[k * 1032 + n] - zeroPoint[n]);
        }
        expect(actual[k]).to.be.closeTo(expected, 2 ** -23 * units * 4 * 4); // |dy| and weights below 4
      }
    });

    it('rejects parts that do not belong together', () => {
      const wrong = (values: number[], dtype: 'int32' | 'float32', zeroPoints: number) => () =>
        tf.tidy(() =>
          sparsifiedMatMul(
            tf.ones([1, 4]),
            {
              values: tf.zeros<tf.Rank.R2>(values as [number, number], dtype),
              scale: tf.ones<tf.Rank.R1>([5]),
              zeroPoint: tf.zeros<tf.Rank.R1>([zeroPoints]),
            },
            tf.scalar(0),
          ),
        );
      for (const call of [
        wrong([4, 5], 'int32', 5),
        wrong([4, 2], 'float32', 5),
        wrong([4, 2], 'int32', 4),
      ]) {
        expect(call).to.throw('INT8 kernel').with.property('code', 'shape-mismatch');
      }
      expect(wrong([3, 2], 'int32', 5))
        .to.throw('last dimension')
        .with.property('code', 'shape-mismatch');
    });
  });
});
