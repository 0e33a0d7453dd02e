/**
 * @file The CUDA kernels through tfjs-node-gpu, against the definition in plain loops. Run by `npm run test:gpu` on a
 * machine with an NVIDIA GPU; not among the specs of `npm test`.
 */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import fc from 'fast-check';
import {loadBackend} from '../../lib/backend/load.js';
import {gpuKernels} from '../../lib/backend/native.js';
import {FUSED_ACTIVATIONS, type FusedActivation} from '../../lib/kernels/activations.js';
import {SPARSIFIED_MATMUL} from '../../lib/kernels/sparsified-matmul-kernel.js';
import {SPARSIFIED_MATMUL_INT4} from '../../lib/kernels/int4-kernels.js';
import {SPARSIFIED_MATMUL_INT8} from '../../lib/kernels/int8-kernels.js';
import {sparsifiedMatMulReference} from '../../lib/kernels/sparsified-matmul-definition.js';
import {sparsifiedMatMul} from '../../lib/kernels/sparsified-matmul.js';
import type {GpuKernels} from '../../lib/kernels/tensorflow-gpu-backend.js';
import {SparsifyingDense} from '../../lib/layers/sparsifying-dense.js';
import {INT4_KINDS, dequantizeInt4} from '../../lib/quantization/int4.js';
import {runKernel} from '../../lib/tfjs.js';
import {int4Tensors, int4Values} from '../support/kernels/int4-matrix.js';
import {normals} from '../support/normals.js';

interface Case {
  readonly x: Float32Array;
  readonly kernel: Float32Array;
  readonly threshold: Float32Array;
  readonly bias?: Float32Array;
  readonly activation?: FusedActivation;
  readonly rows: number;
  readonly inputSize: number;
  readonly units: number;
}

/** Up to this many rows the CUDA kernel multiplies, in float32; more are multiplied by cuBLAS in TF32. */
const MAX_SKIPPING_ROWS = 8;

/** Up to this many rows it multiplies by packed kernels. */
const MAX_PACKED_ROWS = 64;

/** cuBLAS cuts both factors to the 10 bits of TF32: each product errs by 2^-9 of itself at most, however it rounds. */
const TF32_ERROR = 2 ** -9;

function onGpu({x, kernel, threshold, bias, activation = 'linear', rows, inputSize, units}: Case) {
  return tf.tidy(() => {
    const inputs = {
      x: tf.tensor(x, [rows, inputSize]),
      kernel: tf.tensor(kernel, [inputSize, units]),
      threshold: threshold.length === 1 ? tf.scalar(threshold[0]) : tf.tensor(threshold),
      ...(bias && {bias: tf.tensor(bias)}),
    };
    return runKernel(SPARSIFIED_MATMUL, inputs, {activation}).dataSync();
  });
}

/**
 * Holds a result against the reference. Summing n products in float32, in any order, errs by at most about n * 2^-24
 * times the sum of their magnitudes; the activations multiply that by at most 1.13 (gelu) and add rounding of their own.
 */
function expectReference(
  testCase: Case,
  actual: ArrayLike<number>,
  {tf32 = testCase.rows > MAX_SKIPPING_ROWS, productError = 0} = {},
): void {
  const threshold = testCase.threshold.length === 1 ? testCase.threshold[0] : testCase.threshold;
  const expected = sparsifiedMatMulReference({...testCase, threshold});
  const magnitudes = sparsifiedMatMulReference({
    ...testCase,
    threshold,
    x: testCase.x.map(Math.abs),
    kernel: testCase.kernel.map(Math.abs),
    bias: testCase.bias?.map(Math.abs),
    activation: 'linear',
  });
  expect(actual.length).to.equal(expected.length);
  const relative = (testCase.inputSize + 2) * 2 ** -24 + (tf32 ? TF32_ERROR : 0) + productError;
  expected.forEach((value, i) => {
    if (!Number.isFinite(value)) return void expect(actual[i]).to.deep.equal(value);
    const limit = 1.2 * relative * magnitudes[i] + 2 ** -20 * Math.max(1, Math.abs(value));
    if (!(Math.abs(actual[i] - value) <= limit)) {
      expect.fail(`output ${i} is ${actual[i]}, expected ${value} within ${limit}`);
    }
  });
}

function check(testCase: Case): void {
  expectReference(testCase, onGpu(testCase));
}

/** Normal x, and the threshold that masks this share of it. */
function normalCase(rows: number, inputSize: number, units: number, sparsity: number, seed = 1): Case {
  const x = normals(rows * inputSize, seed);
  const sorted = x.map(Math.abs).sort();
  const at = Math.min(sorted.length - 1, Math.floor(sparsity * sorted.length));
  return {
    x,
    kernel: normals(inputSize * units, seed + 1, 1 / Math.sqrt(inputSize)),
    threshold: Float32Array.of(sparsity === 0 ? -Infinity : sorted[at]),
    rows,
    inputSize,
    units,
  };
}

describe('the CUDA kernels', () => {
  let native: GpuKernels;
  let tensors = 0;

  before(async function () {
    this.timeout(300_000);
    const loaded = await loadBackend({name: 'node-gpu'});
    if (loaded.native !== undefined && 'reason' in loaded.native) throw new Error(loaded.native.reason);
    native = gpuKernels() as GpuKernels;
  });
  beforeEach(() => {
    tensors = tf.memory().numTensors;
  });
  afterEach(() => {
    const left = tf.memory().numTensors - tensors;
    if (left !== 0) throw new Error(`${left} tensors leaked`);
  });

  it('run on the GPU, on TensorFlow’s own stream', () => {
    const before = native.launches();
    check(normalCase(1, 64, 64, 0.5));
    expect(native.launches()).to.equal(before + 1);
    expect(native.waits()).to.equal(false);
    expect(native.device().memoryBytes).to.be.greaterThan(0);
  });

  for (const sparsity of [0, 0.3, 0.5, 0.9, 1]) {
    for (const [inputSize, units] of [
      [1, 1],
      [1, 7],
      [7, 1],
      [8, 16],
      [31, 33],
      [64, 1003],
      [577, 96],
      [1000, 130],
      [4096, 40],
      [40, 4096],
    ]) {
      it(`equal the reference for ${inputSize} x ${units} at sparsity ${sparsity}`, () => {
        for (const rows of [1, 2, 3, 5, 8, 13, 33]) check(normalCase(rows, inputSize, units, sparsity));
      });
    }
  }

  for (const activation of FUSED_ACTIVATIONS) {
    it(`apply ${activation} after the bias`, () => {
      for (const rows of [1, 4, 40]) {
        check({...normalCase(rows, 30, 50, 0.5), bias: normals(50, 9, 4), activation});
      }
    });

    it(`apply ${activation} from -100 to 100`, () => {
      const units = 4001;
      const kernel = Float32Array.from({length: units}, (_, n) => (n - 2000) / 20);
      check({...normalCase(1, 1, units, 0), x: Float32Array.of(1), kernel, activation});
    });
  }

  it('take one threshold per input', () => {
    for (const rows of [1, 6, 20]) {
      const threshold = Float32Array.from({length: 37}, (_, k) => [-Infinity, 0, 0.5, 1, Infinity][k % 5]);
      check({...normalCase(rows, 37, 21, 0), threshold});
    }
  });

  it('mask a value equal to the threshold, and -0 at threshold 0', () => {
    const base = {kernel: Float32Array.of(1, 10, 100, 1000), rows: 1, inputSize: 4, units: 1};
    const x = Float32Array.of(0.5, -0.5, 0.75, -0.25);
    expect([...onGpu({...base, x, threshold: Float32Array.of(0.5)})]).to.deep.equal([75]);
    const zeros = {x: Float32Array.of(-0, 0, -0, 0), kernel: base.kernel.map(() => Infinity)};
    expect([...onGpu({...base, ...zeros, threshold: Float32Array.of(0)})]).to.deep.equal([0]);
  });

  it('keep NaN in x, and give NaN only to its row', () => {
    for (const rows of [2, 8, 40]) {
      const testCase = normalCase(rows, 20, 30, 0.5);
      testCase.x[20 + 3] = NaN;
      check({...testCase, activation: 'relu'});
    }
  });

  it('leave Inf and NaN out of the rows that mask them, also where another row keeps them', () => {
    for (const rows of [1, 2, 8]) {
      const testCase = normalCase(rows, 40, 50, 0.5);
      testCase.kernel.fill(Infinity, 0, 50);
      testCase.kernel.fill(NaN, 50, 100);
      for (let row = 0; row < rows; row++) {
        testCase.x.set(row === rows - 1 && rows > 1 ? [3, 3] : [0, 0], row * 40);
      }
      check(testCase);
    }
  });

  it('count denormals as 0, as TensorFlow does', () => {
    const inputSize = 700;
    const x = new Float32Array(inputSize).fill(1e-40);
    const kernel = new Float32Array(inputSize * 64).fill(1e37);
    const y = onGpu({x, kernel, threshold: Float32Array.of(-1), rows: 1, inputSize, units: 64});
    expect(y.every((value) => value === 0)).to.equal(true);
  });

  it('leave a large product to cuBLAS', () => {
    for (const threshold of [-Infinity, 0.5]) {
      const testCase = {...normalCase(300, 700, 700, 0), threshold: Float32Array.of(threshold)};
      check(testCase);
      check({...testCase, bias: normals(700, 3), activation: 'relu'});
      check({...testCase, threshold: new Float32Array(700).fill(threshold)});
    }
  });

  it('give the same bits each time', () => {
    for (const rows of [1, 7]) {
      const testCase = normalCase(rows, 700, 811, 0.4);
      const first = onGpu(testCase);
      for (let i = 0; i < 20; i++) expect(onGpu(testCase)).to.deep.equal(first);
    }
  });

  it('stay in order with TensorFlow’s own operations around them', () => {
    // A chain: if a kernel did not wait for what makes its input, or the next not for it, values would be old ones.
    const size = 512;
    const steps = 50;
    const result = tf.tidy(() => {
      const kernel = tf.mul(tf.eye(size), 2);
      let x: tf.Tensor = tf.ones([1, size]);
      for (let i = 0; i < steps; i++) {
        x = tf.mul(sparsifiedMatMul(x, kernel as tf.Tensor2D, tf.scalar(0)), 0.5);
        x = tf.add(x, 1);
      }
      return x.dataSync();
    });
    expect(result.every((value) => value === steps + 1)).to.equal(true);
  });

  for (const shape of [[0, 6], [6], [2, 6], [3, 5, 6], [2, 3, 4, 6]]) {
    it(`keep the leading dimensions of [${shape}]`, () => {
      const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1);
      const testCase = normalCase(Math.max(rows, 1), 6, 5, 0.5);
      tf.tidy(() => {
        const x = tf.tensor(testCase.x.subarray(0, rows * 6), shape);
        const y = sparsifiedMatMul(x, tf.tensor2d(testCase.kernel, [6, 5]), tf.scalar(testCase.threshold[0]));
        expect(y.shape).to.deep.equal([...shape.slice(0, -1), 5]);
        if (rows > 0) expectReference(testCase, y.dataSync());
      });
    });
  }

  it('refuse shapes that do not fit', () => {
    const run = (kernel: tf.Tensor, threshold: tf.Tensor) =>
      tf.tidy(() =>
        runKernel(SPARSIFIED_MATMUL, {x: tf.ones([1, 3]), kernel, threshold}, {activation: 'relu'}),
      );
    tf.tidy(() => {
      expect(() => run(tf.ones([2, 2]), tf.scalar(0))).to.throw('it must be [3, units]');
      expect(() => run(tf.ones([3, 2]), tf.ones([2]))).to.throw('one value per input');
    });
  });

  it('equal the reference for any shape, threshold and values', function () {
    this.timeout(120_000);
    const value = fc.float({noNaN: true, min: -8, max: 8});
    fc.assert(
      fc.property(
        fc.integer({min: 1, max: 33}),
        fc.integer({min: 1, max: 70}),
        fc.integer({min: 1, max: 70}),
        fc.constantFrom(-Infinity, 0, 0.5, 2, 8),
        fc.array(value, {minLength: 1, maxLength: 40}),
        fc.constantFrom(...FUSED_ACTIVATIONS),
        (rows, inputSize, units, threshold, values, activation) => {
          const take = (length: number, step: number) =>
            Float32Array.from({length}, (_, i) => values[(i * step) % values.length]);
          check({
            x: take(rows * inputSize, 7),
            kernel: take(inputSize * units, 11),
            bias: take(units, 3),
            threshold: Float32Array.of(threshold),
            activation,
            rows,
            inputSize,
            units,
          });
        },
      ),
      {numRuns: 100, seed: 5},
    );
  });

  it('run sparsified layers', () => {
    const testCase = {...normalCase(4, 48, 24, 0.5), bias: normals(24, 7), activation: 'relu' as const};
    const model = tf.sequential({
      layers: [new SparsifyingDense({units: 24, activation: 'relu', inputShape: [48]})],
    });
    tf.tidy(() =>
      model.setWeights([
        tf.tensor(testCase.kernel, [48, 24]),
        tf.tensor(testCase.bias),
        tf.scalar(testCase.threshold[0]),
      ]),
    );
    const before = native.launches();
    const y = tf.tidy(() => (model.predict(tf.tensor(testCase.x, [4, 48])) as tf.Tensor).dataSync());
    expect(native.launches()).to.equal(before + 1);
    expectReference(testCase, y);
    model.dispose();
  });

  for (const [inputSize, units] of [
    [7, 5],
    [64, 48],
    [577, 130],
  ]) {
    it(`multiply INT8 kernels of ${inputSize} x ${units}`, () => {
      for (const rows of [1, 3, 8, 20]) {
        const words = Math.ceil(units / 4);
        const bytes = new Int8Array(inputSize * words * 4);
        const scale = normals(units, 3, 0.01);
        const zeroPoint = normals(units, 4, 30).map(Math.round);
        const weights = new Float32Array(inputSize * units);
        const noise = normals(inputSize * units, 5, 50);
        for (let k = 0; k < inputSize; k++) {
          for (let n = 0; n < units; n++) {
            const q = Math.max(-128, Math.min(127, Math.round(noise[k * units + n])));
            bytes[k * words * 4 + n] = q;
            weights[k * units + n] = scale[n] * (q - zeroPoint[n]);
          }
        }
        const testCase = {...normalCase(rows, inputSize, units, 0.5), kernel: weights};
        const before = native.launches();
        const values = tf.tensor2d(new Int32Array(bytes.buffer), [inputSize, words], 'int32');
        const y = tf.tidy(() => {
          const inputs = {
            x: tf.tensor(testCase.x, [rows, inputSize]),
            values,
            scale: tf.tensor(scale),
            zeroPoint: tf.tensor(zeroPoint),
            threshold: tf.scalar(testCase.threshold[0]),
          };
          return runKernel(SPARSIFIED_MATMUL_INT8, inputs, {activation: 'linear'}).dataSync();
        });
        values.dispose();
        expect(native.launches()).to.equal(before + 1);
        // The reference has float32 weights; q - zero point times the scale is exact but for one rounding, 2^-24.
        expectReference(testCase, y, {tf32: false, productError: 2 ** -23});
      }
      // The copies of the bytes in the device's memory live until JavaScript collects the data of `values`.
      tensors = tf.memory().numTensors;
    });
  }

  for (const kind of INT4_KINDS) {
    for (const [inputSize, units, groupSize] of [
      [7, 5, 7],
      [64, 48, 32],
      [96, 131, 32],
      [576, 130, 64],
      [4224, 4096, 64],
    ]) {
      it(`multiply INT4 kernels of ${inputSize} x ${units}, ${kind} in groups of ${groupSize}`, function () {
        this.timeout(60_000);
        const matrix = int4Values({rows: inputSize, columns: units, groupSize}, kind, 3);
        const kernel = dequantizeInt4(matrix);
        const words = int4Tensors(matrix);
        const {values, scale, zeroPoint, minimum} = words;
        // The definition takes a second for each row of the largest kernel.
        for (const rows of inputSize * units > 1e7 ? [1, 8, 20] : [1, 3, 8, 20, 100]) {
          const bias = normals(units, 9);
          const testCase = {...normalCase(rows, inputSize, units, 0.5), kernel, bias};
          const before = native.launches();
          const y = tf.tidy(() => {
            const inputs = {
              x: tf.tensor(testCase.x, [rows, inputSize]),
              ...{values, scale, ...(zeroPoint && {zeroPoint}), ...(minimum && {minimum})},
              threshold: tf.scalar(testCase.threshold[0]),
              bias: tf.tensor(bias),
            };
            const attrs = {activation: 'linear', columns: units, groupSize, kind};
            return runKernel(SPARSIFIED_MATMUL_INT4, inputs, attrs).dataSync();
          });
          const isDense = rows > MAX_PACKED_ROWS;
          if (!isDense) expect(native.launches()).to.equal(before + 1);
          // Weights are made as the definition says, to the last bit.
          expectReference(testCase, y, {tf32: isDense});
        }
        tf.dispose([values, scale, zeroPoint ?? [], minimum ?? []]);
        // The copies of the words in the device's memory live until JavaScript collects the data of these tensors.
        tensors = tf.memory().numTensors;
      });
    }
  }

  it('refuse parts of an INT4 kernel that do not fit', () => {
    const matrix = int4Values({rows: 64, columns: 48, groupSize: 32}, 'sym', 3);
    tf.tidy(() => {
      const {values, scale} = int4Tensors(matrix);
      const inputs = {x: tf.ones([1, 32]), values, scale, threshold: tf.scalar(0)};
      const attrs = {activation: 'linear', columns: 48, groupSize: 32, kind: 'sym'};
      expect(() => runKernel(SPARSIFIED_MATMUL_INT4, inputs, attrs)).to.throw('it must be [32, 8]');
    });
    tensors = tf.memory().numTensors;
  });
});
