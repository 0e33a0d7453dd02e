/** @file The native INT8 kernels on tfjs-node, against the definition in plain loops over dequantized weights. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {FUSED_ACTIVATIONS, type FusedActivation} from '../../lib/kernels/activations.js';
import {DEQUANTIZE_INT8, SPARSIFIED_MATMUL_INT8} from '../../lib/kernels/int8-kernels.js';
import {sparsifiedMatMulReference} from '../../lib/kernels/sparsified-matmul-definition.js';
import {registeredKernels, type NativeKernels} from '../../lib/kernels/tensorflow-backend.js';
import {dequantizeInt8, quantizeInt8, type Int8Mode, type Int8Values} from '../../lib/quantization/int8.js';
import {runKernel} from '../../lib/tfjs.js';
import {BACKENDS, checkForLeaks} from '../support/backends.js';
import {normals} from '../support/normals.js';

interface Case {
  readonly x: Float32Array;
  readonly matrix: Int8Values;
  readonly threshold: Float32Array;
  readonly bias?: Float32Array;
  readonly activation?: FusedActivation;
  readonly rows: number;
}

/** Kernels of more weights may be multiplied without rounding each weight to float16, for few rows. */
const ROUNDED_WEIGHTS = 2 ** 16;
const FEW_ROWS = 16;

function tensorsOf({values, rows, stride, scale, zeroPoint}: Int8Values) {
  return {
    values: tf.tensor2d(new Int32Array(values.buffer), [rows, stride / 4], 'int32'),
    scale: tf.tensor1d(scale),
    zeroPoint: tf.tensor1d(zeroPoint),
  };
}

function native({x, matrix, threshold, bias, activation = 'linear', rows}: Case): Float32Array {
  return tf.tidy(() => {
    const inputs = {
      x: tf.tensor(x, [rows, matrix.rows]),
      ...tensorsOf(matrix),
      threshold: threshold.length === 1 ? tf.scalar(threshold[0]) : tf.tensor(threshold),
      ...(bias && {bias: tf.tensor(bias)}),
    };
    return runKernel(SPARSIFIED_MATMUL_INT8, inputs, {activation}).dataSync() as Float32Array;
  });
}

/**
 * Holds a result against the reference. Summing n products in float32, in any order, errs by at most about n * 2^-24
 * times the sum of their magnitudes, of which activations make at most 1.13 times that. Where weights are not rounded,
 * each is off by up to 2^-11 of itself, and what is summed are steps: up to 255 times the scale.
 */
function check(testCase: Case, actual: ArrayLike<number> = native(testCase)): void {
  const {x, matrix, threshold, bias, activation, rows} = testCase;
  const [inputSize, units] = [matrix.rows, matrix.columns];
  const shape = {rows, inputSize, units, threshold: threshold.length === 1 ? threshold[0] : threshold};
  const kernel = dequantizeInt8(matrix);
  const expected = sparsifiedMatMulReference({...shape, x, kernel, bias, activation});
  const magnitudesOf = (kernel: Float32Array) =>
    sparsifiedMatMulReference({
      ...shape,
      x: x.map(Math.abs),
      kernel: kernel.map(Math.abs),
      activation: 'linear',
    });
  const magnitudes = magnitudesOf(kernel);
  const inSteps = rows <= FEW_ROWS && inputSize * units > ROUNDED_WEIGHTS;
  const summed = inSteps ? magnitudesOf(kernel.map((_, i) => 255 * matrix.scale[i % units])) : magnitudes;
  expect(actual.length).to.equal(expected.length);
  expected.forEach((value, i) => {
    if (!Number.isFinite(value)) return expect(actual[i]).to.deep.equal(value);
    const added = 1.2 * (inputSize + 4) * 2 ** -24 * (summed[i] + Math.abs(bias?.[i % units] ?? 0));
    const limit =
      added + (inSteps ? 1.2 * 2 ** -11 * magnitudes[i] : 0) + 2 ** -20 * Math.max(1, Math.abs(value));
    if (!(Math.abs(actual[i] - value) <= limit)) {
      expect.fail(`output ${i} is ${actual[i]}, expected ${value} within ${limit}`);
    }
  });
}

/** Normal x and weights about a mean, and the threshold that masks this share of x. */
function normalCase(
  rows: number,
  inputSize: number,
  units: number,
  sparsity: number,
  mode: Int8Mode = 'int8_asym',
): Case {
  const x = normals(rows * inputSize, 1);
  const sorted = x.map(Math.abs).sort();
  const at = Math.min(sorted.length - 1, Math.floor(sparsity * sorted.length));
  const scale = 1 / Math.sqrt(inputSize);
  const weights = normals(inputSize * units, 2, scale).map((w, i) => w + ((i % units) % 3) * scale);
  return {
    x,
    matrix: quantizeInt8(weights, {rows: inputSize, columns: units, channels: 'columns'}, mode),
    threshold: Float32Array.of(sparsity === 0 ? -Infinity : sorted[at]),
    rows,
  };
}

describe('the native INT8 kernels', () => {
  let addon: NativeKernels;

  before(async function () {
    if (!BACKENDS.includes('tensorflow')) this.skip();
    await tf.setBackend('tensorflow');
    await tf.ready();
    const registered = registeredKernels();
    if (registered === undefined) this.skip(); // no compiler here, or SPARSIFY_NATIVE=off
    addon = registered;
  });

  describe('on tensorflow', () => {
    checkForLeaks();

    for (const sparsity of [0, 0.3, 0.5, 0.9, 1]) {
      for (const [inputSize, units] of [
        [1, 1],
        [1, 7],
        [7, 1],
        [8, 16],
        [31, 33],
        [64, 1003],
        [577, 98],
        [1000, 131],
        [4096, 41],
        [41, 4095],
      ]) {
        it(`equal the reference for ${inputSize} x ${units} at sparsity ${sparsity}`, () => {
          for (const [i, rows] of [1, 2, 3, 5, 8, 12, 13, 33].entries()) {
            const mode = i % 2 === 0 ? 'int8_asym' : 'int8_sym';
            check(normalCase(rows, inputSize, units, sparsity, mode));
          }
        });
      }
    }

    for (const activation of FUSED_ACTIVATIONS) {
      it(`apply ${activation} after the bias`, () => {
        for (const [inputSize, units] of [
          [30, 50],
          [300, 250],
        ]) {
          for (const rows of [1, 4, 40]) {
            check({...normalCase(rows, inputSize, units, 0.5), bias: normals(units, 9, 4), activation});
          }
        }
      });
    }

    it('equal the reference for every number of rows to 33, with every rest of inputs and units', () => {
      for (let rows = 1; rows <= 33; rows++) {
        const activation = FUSED_ACTIVATIONS[rows % FUSED_ACTIVATIONS.length];
        const bias = rows % 2 === 0 ? normals(97 - rows, 7) : undefined;
        check({...normalCase(rows, 48 + rows, 97 - rows, 0.6), bias, activation});
        check({...normalCase(rows, 260 + rows, 290 - rows, 0.6), bias: normals(290 - rows, 6), activation});
        check({...normalCase(rows, 50 - rows, rows, 0.2, 'int8_sym'), bias: normals(rows, 8)});
      }
    });

    it('take the scale and zero point of each column, also of more than 8,192', () => {
      for (const rows of [1, 5, 14]) {
        const units = 8301;
        check({...normalCase(rows, 17, units, 0.5), bias: normals(units, 3, 4)});
      }
    });

    it('take one threshold per input', () => {
      for (const rows of [1, 6, 20]) {
        const threshold = Float32Array.from({length: 37}, (_, k) => [-Infinity, 0, 0.5, 1, Infinity][k % 5]);
        check({...normalCase(rows, 37, 21, 0), threshold});
      }
    });

    for (const units of [30, 301]) {
      it(`give Inf and NaN in x to their rows as the definition does, ${units} units`, () => {
        for (const rows of [1, 2, 8, 40]) {
          const testCase = normalCase(rows, 300, units, 0.5);
          // One weight of 0 in this row of the kernel: Infinity times it is NaN, times the others Infinity.
          testCase.matrix.values[3 * testCase.matrix.stride + 1] = testCase.matrix.zeroPoint[1];
          testCase.x[3] = Infinity;
          check(testCase);
          testCase.x[(rows - 1) * 300 + 7] = NaN;
          check(testCase);
        }
      });
    }

    it('round weights that are subnormal in float16, and read negative scales', () => {
      for (const magnitude of [1e-7, 1e-5, 1e-3]) {
        const scale = Float32Array.from(
          {length: 9},
          (_, n) => 2 ** -24 * Math.round((1 + n / 9) * magnitude * 2 ** 24),
        );
        const shape = {rows: 256, columns: 9, channels: 'columns', stride: 12} as const;
        const matrix: Int8Values = {
          ...shape,
          values: new Int8Array(256 * 12).map((_, i) => (i % 12 < 9 ? Math.floor(i / 12) - 128 : 0)),
          scale: scale.map((value, n) => (n % 2 ? -1 : 1) * Math.max(value, 2 ** -24)),
          zeroPoint: Float32Array.of(0, 0, -128, 127, 0, 5, -3, 1, 77),
        };
        const actual = tf.tidy(() => runKernel(DEQUANTIZE_INT8, tensorsOf(matrix), {}).dataSync());
        expect([...actual].map((w) => w + 0)).to.deep.equal([...dequantizeInt8(matrix)].map((w) => w + 0));
        for (const rows of [1, 3, 20]) {
          check({x: normals(rows * 256, 4, 1e4), matrix, threshold: Float32Array.of(5e3), rows});
        }
      }
    });

    it('give no rows for no rows', () => {
      const {matrix} = normalCase(1, 5, 3, 0);
      const y = tf.tidy(() => {
        const inputs = {x: tf.zeros([0, 5]), ...tensorsOf(matrix), threshold: tf.scalar(0)};
        return runKernel(SPARSIFIED_MATMUL_INT8, inputs, {activation: 'linear'}).shape;
      });
      expect(y).to.deep.equal([0, 3]);
    });

    for (const threads of [1, 2, 3, 8]) {
      it(`equal the reference with ${threads} threads, the same bits each time`, () => {
        const before = addon.threads();
        addon.setThreads(threads);
        try {
          for (const rows of [1, 7, 30]) {
            const testCase = normalCase(rows, 700, 811, 0.4);
            const first = native(testCase);
            check(testCase, first);
            for (let i = 0; i < 5; i++) expect(native(testCase)).to.deep.equal(first);
          }
        } finally {
          addon.setThreads(before);
        }
      });
    }

    it('refuse parts that do not fit', () => {
      const run = (values: tf.Tensor, scale: tf.Tensor, threshold: tf.Tensor) => () =>
        tf.tidy(() => {
          const inputs = {x: tf.ones([1, 3]), values, scale, zeroPoint: tf.zerosLike(scale), threshold};
          return runKernel(SPARSIFIED_MATMUL_INT8, inputs, {activation: 'relu'});
        });
      tf.tidy(() => {
        const words = (rows: number, count: number) => tf.zeros([rows, count], 'int32');
        expect(run(words(3, 1), tf.ones([5]), tf.scalar(0))).to.throw('units / 4 rounded up');
        expect(run(words(2, 2), tf.ones([5]), tf.scalar(0))).to.throw('[3, units / 4]');
        expect(run(words(3, 2), tf.ones([5]), tf.ones([2]))).to.throw('one value per input');
      });
    });
  });
});
