/**
 * @file The kernels of every backend, of float32 and of INT8 weights, on whole numbers so small that every sum is exact: each
 * must give what three loops give, to the last bit; and so must the definition and the stock operations.
 */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {sparsifiedMatMulReference} from '../../lib/kernels/sparsified-matmul-definition.js';
import {sparsifiedMatMulFallback} from '../../lib/kernels/any-backend.js';
import {ACTIVATE, FUSED_ACTIVATIONS} from '../../lib/kernels/activations.js';
import {
  dequantizeByOperations,
  dequantizeColumns,
  dequantizeRows,
  dequantizeSomeColumns,
} from '../../lib/kernels/int8-dequantize.js';
import {compressedMatMulFallback} from '../../lib/kernels/compressed-any-backend.js';
import {MAX_ROUNDED_WEIGHTS, type Int8Matrix} from '../../lib/kernels/int8-kernels.js';
import {sparsifiedMatMul} from '../../lib/kernels/sparsified-matmul.js';
import {seededRandom} from '../../lib/stats/seeded-random.js';
import {onEveryBackend, withoutLeaks} from '../support/backends.js';

/** Whole numbers from `least` to `most`. */
function wholes(count: number, seed: number, least: number, most: number): number[] {
  const uniform = seededRandom(seed);
  return Array.from({length: count}, () => Math.floor(least + uniform() * (most - least + 1)));
}

interface Product {
  readonly x: readonly number[];
  readonly kernel: readonly number[];
  /** One, or one for each input. */
  readonly thresholds: readonly number[];
  readonly bias?: readonly number[];
  readonly rows: number;
  readonly inputs: number;
  readonly units: number;
}

/** The sums, and then their larger ones of 0 if `relu`. */
function byLoops({x, kernel, thresholds, bias, rows, inputs, units}: Product, relu = false): number[] {
  const sums: number[] = [];
  for (let row = 0; row < rows; row++) {
    for (let n = 0; n < units; n++) {
      let sum = bias?.[n] ?? 0;
      for (let k = 0; k < inputs; k++) {
        const value = x[row * inputs + k];
        const threshold = thresholds[thresholds.length > 1 ? k : 0];
        if (Math.abs(value) > threshold) sum += value * kernel[k * units + n];
      }
      sums.push(relu ? Math.max(sum, 0) : sum);
    }
  }
  return sums;
}

function product(
  rows: number,
  inputs: number,
  units: number,
  seed: number,
  more: Partial<Product> = {},
): Product {
  return {
    ...{rows, inputs, units, thresholds: [1]},
    x: wholes(rows * inputs, seed, -4, 4),
    kernel: wholes(inputs * units, seed + 1, -9, 9),
    ...more,
  };
}

const plus = (values: Iterable<number>) => [...values].map((value) => value + 0); // -0 is 0

/** What is multiplied with a kernel of bytes: weights are scale * (byte - zero point), scales powers of 2. */
function int8Of({inputs, units}: Product, seed: number) {
  const bytes = wholes(inputs * units, seed, -128, 127);
  const scale = Array.from({length: units}, (_, n) => (n % 3 === 1 ? -1 : 1) * 2 ** -(n % 4));
  const zeroPoint = wholes(units, seed + 1, -20, 20);
  const stride = Math.ceil(units / 4) * 4;
  const stored = new Int8Array(inputs * stride);
  bytes.forEach((byte, i) => (stored[Math.floor(i / units) * stride + (i % units)] = byte));
  const kernel = bytes.map((byte, i) => scale[i % units] * (byte - zeroPoint[i % units]));
  const matrix = (): Int8Matrix => ({
    values: tf.tensor2d(new Int32Array(stored.buffer), [inputs, stride / 4], 'int32'),
    scale: tf.tensor1d(scale),
    zeroPoint: tf.tensor1d(zeroPoint),
  });
  return {kernel, matrix};
}

const tensorOf = ({x, rows, inputs}: Product) => tf.tensor2d([...x], [rows, inputs]);
const thresholdOf = ({thresholds}: Product) =>
  thresholds.length > 1 ? tf.tensor1d([...thresholds]) : tf.scalar(thresholds[0]);
const biasOf = ({bias}: Product) => (bias === undefined ? undefined : tf.tensor1d([...bias]));

describe('kernels', () => {
  onEveryBackend(() => {
    /** Around the sizes of passes and words. */
    const SIZES = [
      [1, 1, 1],
      [1, 7, 3],
      [1, 8, 4],
      [2, 9, 5],
      [3, 16, 1],
      [2, 17, 6],
      [9, 40, 7],
      [1, 64, 9],
    ] as const;

    for (const [rows, inputs, units] of SIZES) {
      for (const variant of ['one threshold', 'a threshold an input and a bias'] as const) {
        const more = (): Partial<Product> =>
          variant === 'one threshold'
            ? {}
            : {thresholds: wholes(inputs, 5, -1, 3), bias: wholes(units, 6, -50, 50)};
        it(`multiply ${rows} rows by ${inputs} x ${units}, with ${variant}`, () => {
          const given = product(rows, inputs, units, rows + inputs, more());
          for (const relu of [false, true]) {
            const activation = relu ? 'relu' : 'linear';
            const expected = plus(byLoops(given, relu));
            const {x, kernel, bias, thresholds} = given;
            const threshold = thresholds.length > 1 ? thresholds : thresholds[0];
            const sizes = {rows, inputSize: inputs, units};
            expect(
              plus(sparsifiedMatMulReference({x, kernel, bias, threshold, activation, ...sizes})),
            ).to.deep.equal(expected);
            const [own, stock] = tf.tidy(() => {
              const tensor = tf.tensor2d([...kernel], [inputs, units]);
              const args = {
                x: tensorOf(given),
                threshold: thresholdOf(given),
                bias: biasOf(given),
                activation,
              } as const;
              return [
                sparsifiedMatMul(args.x, tensor, args.threshold, {bias: args.bias, activation}).dataSync(),
                sparsifiedMatMulFallback({...args, kernel: tensor}).dataSync(),
              ] as unknown as [Float32Array, Float32Array];
            });
            expect(plus(own)).to.deep.equal(expected);
            expect(plus(stock)).to.deep.equal(expected);
          }
        });

        it(`multiply ${rows} rows by ${inputs} x ${units} of INT8, with ${variant}`, () => {
          const shape = product(rows, inputs, units, rows + inputs, more());
          const {kernel, matrix} = int8Of(shape, 11);
          const given = {...shape, kernel};
          for (const relu of [false, true]) {
            const activation = relu ? 'relu' : 'linear';
            const expected = plus(byLoops(given, relu));
            const [own, stock, weights] = tf.tidy(() => {
              const args = {
                x: tensorOf(given),
                threshold: thresholdOf(given),
                bias: biasOf(given),
                activation,
              } as const;
              return [
                sparsifiedMatMul(args.x, matrix(), args.threshold, {bias: args.bias, activation}).dataSync(),
                compressedMatMulFallback({...args, kernel: matrix()}).dataSync(),
                dequantizeColumns(matrix()).dataSync(),
              ] as unknown as Float32Array[];
            });
            expect(plus(own)).to.deep.equal(expected);
            expect(plus(stock)).to.deep.equal(expected);
            expect(plus(weights)).to.deep.equal(plus(kernel));
          }
        });
      }
    }

    for (const [rows, inputs, units] of [
      [1, 256, 257],
      [3, 259, 256],
    ] as const) {
      it(`multiply ${rows} rows by an INT8 kernel of ${inputs} x ${units}, which is summed by steps`, () => {
        expect(inputs * units).to.be.above(MAX_ROUNDED_WEIGHTS);
        const shape = product(rows, inputs, units, 3, {bias: wholes(units, 6, -50, 50)});
        const {kernel, matrix} = int8Of(shape, 11);
        for (const relu of [false, true]) {
          const activation = relu ? 'relu' : 'linear';
          const own = tf.tidy(() =>
            sparsifiedMatMul(tensorOf(shape), matrix(), thresholdOf(shape), {
              bias: biasOf(shape),
              activation,
            }).dataSync(),
          );
          expect(plus(own)).to.deep.equal(plus(byLoops({...shape, kernel}, relu)));
        }
      });
    }

    for (const activation of FUSED_ACTIVATIONS) {
      it(`apply ${activation} to each sum once`, () => {
        for (const rows of [1, 9]) {
          const shape = product(rows, 4, 5, 17, {bias: wholes(5, 6, -3, 3)});
          const small = {...shape, x: shape.x.map((value) => value / 2), thresholds: [0.5]};
          const {kernel, matrix} = int8Of(shape, 11);
          const float = shape.kernel.map((value) => value / 8);
          const byte = kernel.map((value) => value / 64);
          const [own, stock, packed] = tf.tidy(() => {
            const args = {x: tensorOf(small), threshold: thresholdOf(small), bias: biasOf(small), activation};
            const tensor = tf.tensor2d(float, [4, 5]);
            const {scale, ...rest} = matrix();
            return [
              sparsifiedMatMul(args.x, tensor, args.threshold, {bias: args.bias, activation}).dataSync(),
              sparsifiedMatMulFallback({...args, kernel: tensor}).dataSync(),
              sparsifiedMatMul(args.x, {...rest, scale: tf.div<tf.Tensor1D>(scale, 64)}, args.threshold, {
                ...{bias: args.bias, activation},
              }).dataSync(),
            ] as unknown as Float32Array[];
          });
          for (const [got, weights] of [
            [own, float],
            [stock, float],
            [packed, byte],
          ] as const) {
            byLoops({...small, kernel: weights}).forEach((sum, i) => {
              expect(got[i]).to.be.closeTo(ACTIVATE[activation](sum), 2e-5);
            });
          }
        }
      });
    }

    it('read rows of an INT8 matrix, columns of one, and all of it by stock operations', () => {
      for (const units of [3, 4, 9]) {
        const {kernel, matrix} = int8Of(product(1, 6, units, 1), 3);
        const at = (row: number, column: number) => kernel[row * units + column];
        const columns = [units - 1, 0, 1, units - 1];
        const bytes = wholes(6 * units, 13, -128, 127);
        const rowScale = [1, -2, 0.5, 0.25, 4, -1];
        const stride = Math.ceil(units / 4) * 4;
        const stored = new Int8Array(6 * stride);
        bytes.forEach((byte, i) => (stored[Math.floor(i / units) * stride + (i % units)] = byte));
        const ids = [5, 0, 3, 3];
        tf.tidy(() => {
          expect(plus(dequantizeByOperations(matrix()).dataSync())).to.deep.equal(plus(kernel));
          const some = dequantizeSomeColumns(matrix(), tf.tensor1d(columns, 'int32'));
          expect(some.shape).to.deep.equal([4, 6]);
          expect(plus(some.dataSync())).to.deep.equal(
            plus(columns.flatMap((column) => [0, 1, 2, 3, 4, 5].map((row) => at(row, column)))),
          );
          const rows = dequantizeRows(
            {
              values: tf.tensor2d(new Int32Array(stored.buffer), [6, stride / 4], 'int32'),
              scale: tf.tensor1d(rowScale),
              zeroPoint: tf.tensor1d([3, -3, 0, 7, 1, -128]),
            },
            tf.tensor1d(ids, 'int32'),
            units,
          );
          expect(rows.shape).to.deep.equal([4, units]);
          const zeroPoint = [3, -3, 0, 7, 1, -128];
          expect(plus(rows.dataSync())).to.deep.equal(
            plus(
              ids.flatMap((id) =>
                Array.from({length: units}, (_, n) => rowScale[id] * (bytes[id * units + n] - zeroPoint[id])),
              ),
            ),
          );
        });
      }
    });

    it('keep leading dimensions, and take whole numbers', () => {
      for (const shape of [[3], [2, 3], [2, 1, 3]]) {
        const given = product(
          shape.slice(0, -1).reduce((size, n) => size * n, 1),
          3,
          2,
          4,
        );
        const {kernel, matrix} = int8Of(given, 7);
        tf.tidy(() => {
          const x = tf.tensor([...given.x], shape, 'int32');
          const plain = sparsifiedMatMul(x, tf.tensor2d([...given.kernel], [3, 2]), tf.scalar(1));
          const packed = sparsifiedMatMul(x, matrix(), tf.scalar(1));
          for (const y of [plain, packed]) expect(y.shape).to.deep.equal([...shape.slice(0, -1), 2]);
          expect(plus(plain.dataSync())).to.deep.equal(plus(byLoops(given)));
          expect(plus(packed.dataSync())).to.deep.equal(plus(byLoops({...given, kernel})));
        });
      }
    });

    it('give nothing for no rows', () => {
      const [plain, packed] = tf.tidy(() => [
        sparsifiedMatMul(tf.zeros([0, 3]), tf.ones([3, 2]), tf.scalar(0)).shape,
        sparsifiedMatMul(tf.zeros([0, 3]), int8Of(product(1, 3, 2, 1), 1).matrix(), tf.scalar(0)).shape,
      ]);
      expect([plain, packed]).to.deep.equal([
        [0, 2],
        [0, 2],
      ]);
    });

    describe('have gradients', () => {
      const [rows, inputs, units] = [3, 5, 6];
      const given = product(rows, inputs, units, 21, {bias: wholes(units, 6, -20, 20)});
      const dy = wholes(rows * units, 8, -3, 3);
      const {kernel: bytes, matrix} = int8Of(given, 31);

      /** By the chain rule: of x, the kernel, and the bias. */
      function expected(kernel: readonly number[], relu: boolean, hasBias: boolean) {
        const z = byLoops({...given, kernel, ...(hasBias ? {} : {bias: undefined})});
        const dz = dy.map((value, i) => (relu && z[i] <= 0 ? 0 : value));
        const kept = given.x.map((value) => Math.abs(value) > 1);
        const dx = given.x.map((_, i) => {
          const [row, k] = [Math.floor(i / inputs), i % inputs];
          let sum = 0;
          for (let n = 0; n < units; n++) sum += dz[row * units + n] * kernel[k * units + n];
          return kept[i] ? sum : 0;
        });
        const dKernel = kernel.map((_, i) => {
          const [k, n] = [Math.floor(i / units), i % units];
          let sum = 0;
          for (let row = 0; row < rows; row++) {
            if (kept[row * inputs + k]) sum += given.x[row * inputs + k] * dz[row * units + n];
          }
          return sum;
        });
        const dBias = Array.from({length: units}, (_, n) => {
          let sum = 0;
          for (let row = 0; row < rows; row++) sum += dz[row * units + n];
          return sum;
        });
        return {dx: plus(dx), dKernel: plus(dKernel), dBias: plus(dBias)};
      }

      for (const activation of ['linear', 'relu'] as const) {
        for (const hasBias of [false, true]) {
          it(`through ${activation} ${hasBias ? 'with' : 'without'} a bias`, () => {
            const wanted = expected(given.kernel, activation === 'relu', hasBias);
            const got = tf.tidy(() => {
              const tensors = [
                tensorOf(given),
                tf.tensor2d([...given.kernel], [inputs, units]),
                ...(hasBias ? [biasOf(given)!] : []),
              ];
              const gradients = tf.grads((x, kernel, bias?: tf.Tensor) =>
                sparsifiedMatMul(x, kernel as tf.Tensor2D, tf.scalar(1), {
                  bias: bias as tf.Tensor1D,
                  activation,
                }),
              )(tensors, tf.tensor2d(dy, [rows, units]));
              return gradients.map((gradient) => plus(gradient.dataSync()));
            });
            expect(got).to.deep.equal([wanted.dx, wanted.dKernel, ...(hasBias ? [wanted.dBias] : [])]);
          });

          it(`through ${activation} ${hasBias ? 'with' : 'without'} a bias, of INT8`, () => {
            const wanted = expected(bytes, activation === 'relu', hasBias);
            const got = tf.tidy(() => {
              const tensors = [tensorOf(given), ...(hasBias ? [biasOf(given)!] : [])];
              const gradients = tf.grads((x, bias?: tf.Tensor) =>
                sparsifiedMatMul(x, matrix(), tf.scalar(1), {bias: bias as tf.Tensor1D, activation}),
              )(tensors, tf.tensor2d(dy, [rows, units]));
              return gradients.map((gradient) => plus(gradient.dataSync()));
            });
            expect(got).to.deep.equal([wanted.dx, ...(hasBias ? [wanted.dBias] : [])]);
          });
        }
      }

      it('of 0 to the threshold', () => {
        const gradient = tf.tidy(() =>
          tf
            .grad((threshold) => sparsifiedMatMul(tensorOf(given), tf.ones([inputs, units]), threshold))(
              tf.scalar(1),
            )
            .dataSync(),
        );
        expect([...gradient]).to.deep.equal([0]);
      });
    });

    it('refuse parts of an INT8 kernel that do not belong together', () => {
      const wrong = (words: number, dtype: 'int32' | 'float32', zeroPoints: number) => () =>
        tf.tidy(() =>
          sparsifiedMatMul(
            tf.ones([1, 4]),
            {
              values: tf.zeros([4, words], dtype),
              scale: tf.ones<tf.Rank.R1>([5]),
              zeroPoint: tf.zeros<tf.Rank.R1>([zeroPoints]),
            },
            tf.scalar(0),
          ),
        );
      for (const [words, dtype, zeroPoints] of [
        [1, 'int32', 5],
        [5, 'int32', 5],
        [2, 'float32', 5],
        [2, 'int32', 4],
      ] as const) {
        expect(wrong(words, dtype, zeroPoints))
          .to.throw(
            `sparsifiedMatMul: an INT8 kernel has values ${dtype} [4,${words}], scale [5] and zero point [${zeroPoints}]; ` +
              'give int32 [inputs, units / 4 rounded up], [units] and [units]',
          )
          .with.deep.include({
            code: 'shape-mismatch',
            data: {values: [4, words], scale: [5], zeroPoint: [zeroPoints]},
          });
      }
    });
  });

  describe('in plain TypeScript', () =>
    withoutLeaks(() => {
      before(() => tf.setBackend('cpu'));

      it('round weights of kernels of 65,536 to float16, and leave that out beyond', () => {
        // 2049 needs 12 bits; float16 has 11, and ties to even: 2048.
        for (const [inputs, expected] of [
          [MAX_ROUNDED_WEIGHTS / 4, 2048],
          [MAX_ROUNDED_WEIGHTS / 4 + 1, 2049],
        ]) {
          const y = tf.tidy(() => {
            const first = Float32Array.from({length: inputs}, (_, k) => (k === 0 ? 1 : 0));
            return sparsifiedMatMul(
              tf.tensor2d(first, [1, inputs]),
              {
                values: tf.fill([inputs, 1], 0x03030303, 'int32'),
                scale: tf.fill<tf.Rank.R1>([4], 683),
                zeroPoint: tf.zeros<tf.Rank.R1>([4]),
              },
              tf.scalar(0),
            ).dataSync();
          });
          expect([...y]).to.deep.equal(Array(4).fill(expected));
        }
      });

      it('give no NaN for an infinite input of a large INT8 kernel', () => {
        const inputs = 2 ** 14 + 1;
        const y = tf.tidy(() => {
          const x = Float32Array.from({length: inputs}, (_, k) => (k === 5 ? Infinity : 1));
          return sparsifiedMatMul(
            tf.tensor2d(x, [1, inputs]),
            {
              values: tf.fill([inputs, 1], 0x01010101, 'int32'),
              scale: tf.ones<tf.Rank.R1>([4]),
              zeroPoint: tf.fill<tf.Rank.R1>([4], -3),
            },
            tf.scalar(0.5),
          ).dataSync();
        });
        expect([...y]).to.deep.equal(Array(4).fill(Infinity));
      });

      it('keep NaN, and leave what is in rows of the kernel alone whose input is masked', () => {
        const y = tf.tidy(() =>
          sparsifiedMatMul(
            tf.tensor2d([
              [1, 2],
              [NaN, 1],
            ]),
            tf.tensor2d([
              [Infinity, NaN],
              [3, 4],
            ]),
            tf.scalar(1),
          ).dataSync(),
        );
        expect([...y]).to.deep.equal([6, 8, NaN, NaN]);
      });
    }));
});
