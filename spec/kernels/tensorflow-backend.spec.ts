/** @file The native kernels on tfjs-node, against the definition in plain loops; built here if they are not. */
import {Worker} from 'node:worker_threads';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import fc from 'fast-check';
import {loadNativeKernels, nativeKernels} from '../../lib/backend/native.js';
import {FUSED_ACTIVATIONS, type FusedActivation} from '../../lib/kernels/activations.js';
import {SPARSIFIED_MATMUL} from '../../lib/kernels/sparsified-matmul-kernel.js';
import {sparsifiedMatMulReference} from '../../lib/kernels/sparsified-matmul-definition.js';
import {multipliesItself, type NativeKernels} from '../../lib/kernels/tensorflow-backend.js';
import {runKernel} from '../../lib/tfjs.js';
import {cpuAddon} from '../../lib/provision/addons/cpu-addon.js';
import {provideAddon} from '../../lib/provision/addons/provide-addon.js';
import {packageFolderOf} from '../../lib/provision/node-package/package-folder.js';
import {BACKENDS, checkForLeaks} from '../support/backends.js';
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

function native({x, kernel, threshold, bias, activation = 'linear', rows, inputSize, units}: Case) {
  return tf.tidy(() => {
    const inputs = {
      x: tf.tensor(x, [rows, inputSize]),
      kernel: tf.tensor(kernel, [inputSize, units]),
      threshold: threshold.length === 1 ? tf.scalar(threshold[0]) : tf.tensor(threshold),
      ...(bias && {bias: tf.tensor(bias)}),
    };
    return runKernel(SPARSIFIED_MATMUL, inputs, {activation}).dataSync() as Float32Array;
  });
}

/**
 * Holds a result against the reference. Summing n products in float32, in any order, errs by at most about
 * n * 2^-24 times the sum of their magnitudes; the activations multiply that by at most 1.13 (gelu) and add
 * rounding of their own.
 */
function expectReference(testCase: Case, actual: ArrayLike<number>): void {
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
  expected.forEach((value, i) => {
    if (Number.isFinite(value)) {
      const limit =
        1.2 * (testCase.inputSize + 2) * 2 ** -24 * magnitudes[i] + 2 ** -20 * Math.max(1, Math.abs(value));
      if (!(Math.abs(actual[i] - value) <= limit)) {
        expect.fail(`output ${i} is ${actual[i]}, expected ${value} within ${limit}`);
      }
    } else {
      expect(actual[i]).to.deep.equal(value);
    }
  });
}

function check(testCase: Case): void {
  expectReference(testCase, native(testCase));
}

/** Holds some rows of a large result against the reference, which would take seconds for all. */
function expectSomeRows(testCase: Case, actual: Float32Array): void {
  const {x, rows, inputSize, units} = testCase;
  expect(actual.length).to.equal(rows * units);
  for (const row of [0, 1, Math.floor(rows / 2), rows - 1]) {
    const own = {...testCase, rows: 1, x: x.subarray(row * inputSize, (row + 1) * inputSize)};
    expectReference(own, actual.subarray(row * units, (row + 1) * units));
  }
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

/** A worker that loads tfjs-node and the addon for itself and multiplies over and over. */
const WORKER = `
const {workerData, parentPort} = require('node:worker_threads');
const require2 = require('node:module').createRequire(workerData.main);
const util = require('node:util');
util.isNullOrUndefined ??= (value) => value == null;
util.isArray ??= Array.isArray;
const tf = require2('@tensorflow/tfjs');
require2(workerData.main);
require2(workerData.addon).register();
const backend = tf.backend();
const [x, kernel, threshold] = workerData.inputs.map(({values, shape}) => tf.tensor(values, shape));
let worst = 0;
for (let i = 0; i < 200; i++) {
  const y = backend.executeSingleOutput('SparsifiedMatMul', [], [x, kernel, threshold]);
  y.dataSync().forEach((value, n) => (worst = Math.max(worst, Math.abs(value - workerData.expected[n]))));
  y.dispose();
}
parentPort.postMessage(worst);
`;

describe('the native kernels', function () {
  let addon: NativeKernels;
  let addonPath: string;
  let tfjsNodeDir: string;

  before(async function () {
    this.timeout(300_000);
    if (!BACKENDS.includes('tensorflow')) this.skip();
    tfjsNodeDir = packageFolderOf('@tensorflow/tfjs-node', [import.meta.dirname]) as string;
    const built = await provideAddon(cpuAddon, {packageFolder: tfjsNodeDir});
    if ('reason' in built) {
      if (built.reason.includes('no C++ compiler') || process.env.SPARSIFY_NATIVE === 'off') this.skip();
      throw new Error(built.reason);
    }
    addonPath = built.path;
    addon = loadNativeKernels(addonPath);
    await tf.setBackend('tensorflow');
    await tf.ready();
  });

  describe('on tensorflow', () => {
    checkForLeaks();

    it(`say how they run (${nativeKernels()?.instructionSet() ?? 'as built'})`, () => {
      expect(addon.instructionSet()).to.be.oneOf([
        'AVX3',
        'AVX2',
        'SSE4',
        'SSE2',
        'NEON',
        'NEON_WITHOUT_AES',
      ]);
      expect(addon.threads()).to.be.at.least(1);
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
          const bias = normals(50, 9, 4);
          check({...normalCase(rows, 30, 50, 0.5), bias, activation});
        }
      });

      it(`apply ${activation} from -100 to 100`, () => {
        const units = 4001;
        const kernel = Float32Array.from({length: units}, (_, n) => (n - 2000) / 20);
        check({...normalCase(1, 1, units, 0), x: Float32Array.of(1), kernel, activation});
      });
    }

    it('add the bias of columns that are summed in several blocks', () => {
      for (const rows of [1, 7, 13]) {
        check({...normalCase(rows, 20, 5003, 0.5), bias: normals(5003, 9, 4), activation: 'relu'});
      }
      check({...normalCase(1, 3, 40_001, 0), bias: normals(40_001, 9, 4)});
    });

    it('take one threshold per input', () => {
      for (const rows of [1, 6, 20]) {
        const threshold = Float32Array.from({length: 37}, (_, k) => [-Infinity, 0, 0.5, 1, Infinity][k % 5]);
        check({...normalCase(rows, 37, 21, 0), threshold});
      }
    });

    it('mask a value equal to the threshold, and -0 at threshold 0', () => {
      const kernel = Float32Array.of(1, 10, 100, 1000);
      const base = {kernel, rows: 1, inputSize: 4, units: 1};
      const tie = native({
        ...base,
        x: Float32Array.of(0.5, -0.5, 0.75, -0.25),
        threshold: Float32Array.of(0.5),
      });
      expect([...tie]).to.deep.equal([75]);
      const infinite = kernel.map(() => Infinity);
      const zero = native({
        ...base,
        kernel: infinite,
        x: Float32Array.of(-0, 0, -0, 0),
        threshold: Float32Array.of(0),
      });
      expect([...zero]).to.deep.equal([0]);
    });

    it('keep NaN in x, and give NaN only to its row', () => {
      for (const rows of [2, 8, 40]) {
        const testCase = normalCase(rows, 20, 30, 0.5);
        testCase.x[20 + 3] = NaN;
        check({...testCase, activation: 'relu'});
      }
    });

    it('leave Inf and NaN out of the rows that mask them, also where another row keeps them', () => {
      for (const rows of [1, 2, 8, 12]) {
        const testCase = normalCase(rows, 40, 50, 0.5);
        testCase.kernel.fill(Infinity, 0, 50);
        testCase.kernel.fill(NaN, 50, 100);
        for (let row = 0; row < rows; row++)
          testCase.x.set(row === rows - 1 && rows > 1 ? [3, 3] : [0, 0], row * 40);
        check(testCase);
      }
    });

    it('count denormals as 0, as TensorFlow does, on every thread', () => {
      const inputSize = 700;
      const x = new Float32Array(inputSize).fill(1e-40);
      const kernel = new Float32Array(inputSize * 64).fill(1e37);
      const testCase = {x, kernel, threshold: Float32Array.of(-1), rows: 1, inputSize, units: 64};
      expect(native(testCase).every((value) => value === 0)).to.equal(true);
    });

    it('take buffers at any multiple of 4 bytes', () => {
      for (const rows of [1, 4]) {
        for (let offset = 0; offset < 16; offset++) {
          const testCase = normalCase(rows, 65, 67, 0.5);
          const moved = (values: Float32Array) => {
            const room = new Float32Array(values.length + offset);
            room.set(values, offset);
            return room.subarray(offset);
          };
          check({...testCase, x: moved(testCase.x), kernel: moved(testCase.kernel)});
        }
      }
    });

    for (const threshold of [-Infinity, 0.5]) {
      it(`leave a large product to TensorFlow, threshold ${threshold}`, () => {
        const testCase = {...normalCase(300, 700, 700, 0), threshold: Float32Array.of(threshold)};
        expect(multipliesItself(300, 700, 700)).to.equal(false);
        const checkSome = (each: Case): void => expectSomeRows(each, native(each));
        const bias = normals(700, 3, 4);
        for (const activation of FUSED_ACTIVATIONS) {
          checkSome({...testCase, activation});
          checkSome({...testCase, bias, activation});
        }
        const perInput = Float32Array.from({length: 700}, (_, k) => threshold * (k % 3));
        checkSome({...testCase, threshold: threshold < 0 ? perInput.fill(threshold) : perInput});
      });
    }

    it('leave no tensor but the result, however many rows and dimensions', () => {
      const [kernel, threshold, bias] = [tf.ones([700, 700]), tf.scalar(0.5), tf.ones([700])];
      for (const shape of [
        [1, 700],
        [300, 700],
        [3, 100, 700],
      ]) {
        const x = tf.ones(shape);
        for (const [inputs, activation] of [
          [{x, kernel, threshold}, 'linear'],
          [{x, kernel, threshold}, 'relu'],
          [{x, kernel, threshold, bias}, 'linear'],
        ] as const) {
          const before = tf.memory().numTensors;
          const y = runKernel(SPARSIFIED_MATMUL, inputs, {activation});
          expect(tf.memory().numTensors).to.equal(before + 1);
          y.dispose();
        }
        x.dispose();
      }
      tf.dispose([kernel, threshold, bias]);
    });

    it('leave a large product of leading dimensions to TensorFlow', () => {
      const testCase = {
        ...normalCase(300, 700, 700, 0.5),
        bias: normals(700, 3),
        activation: 'relu',
      } as const;
      tf.tidy(() => {
        const inputs = {
          x: tf.tensor(testCase.x, [3, 100, 700]),
          kernel: tf.tensor(testCase.kernel, [700, 700]),
          threshold: tf.scalar(testCase.threshold[0]),
        };
        const plain = runKernel(SPARSIFIED_MATMUL, inputs, {activation: 'linear'});
        expect(plain.shape).to.deep.equal([3, 100, 700]);
        const values = (y: tf.Tensor): Float32Array => y.dataSync() as Float32Array;
        expectSomeRows({...testCase, bias: undefined, activation: 'linear'}, values(plain));
        const whole = runKernel(
          SPARSIFIED_MATMUL,
          {...inputs, bias: tf.tensor(testCase.bias)},
          {activation: 'relu'},
        );
        expect(whole.shape).to.deep.equal([3, 100, 700]);
        expectSomeRows(testCase, values(whole));
      });
    });

    it('equal the reference for every number of rows to 33, with every rest of inputs and units', () => {
      for (let rows = 1; rows <= 33; rows++) {
        const activation = FUSED_ACTIVATIONS[rows % FUSED_ACTIVATIONS.length];
        const bias = rows % 2 === 0 ? normals(97 - rows, 7) : undefined;
        check({...normalCase(rows, 48 + rows, 97 - rows, 0.6, rows), bias, activation});
        check({...normalCase(rows, 50 - rows, rows, 0.2, rows), bias: normals(rows, 8)});
        const perInput = Float32Array.from({length: 33}, (_, k) => [-Infinity, 0, 0.5, 1, Infinity][k % 5]);
        check({...normalCase(rows, 33, 35, 0, rows), threshold: perInput, bias: normals(35, 9)});
      }
    });

    it('give no rows for no rows', () => {
      const y = tf.tidy(() => {
        const inputs = {x: tf.zeros([0, 5]), kernel: tf.ones([5, 3]), threshold: tf.scalar(0)};
        return runKernel(SPARSIFIED_MATMUL, inputs, {activation: 'linear'}).shape;
      });
      expect(y).to.deep.equal([0, 3]);
    });

    for (const shape of [[6], [2, 6], [3, 5, 6], [2, 3, 4, 6]]) {
      it(`keep the leading dimensions of [${shape}]`, () => {
        const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1);
        const testCase = normalCase(rows, 6, 5, 0.5);
        tf.tidy(() => {
          const inputs = {
            x: tf.tensor(testCase.x, shape),
            kernel: tf.tensor(testCase.kernel, [6, 5]),
            threshold: tf.scalar(testCase.threshold[0]),
          };
          const y = runKernel(SPARSIFIED_MATMUL, inputs, {activation: 'linear'});
          expect(y.shape).to.deep.equal([...shape.slice(0, -1), 5]);
          expectReference(testCase, y.dataSync());
        });
      });
    }

    for (const threads of [1, 2, 3, 8]) {
      it(`equal the reference with ${threads} threads, the same bits each time`, () => {
        const before = addon.threads();
        addon.setThreads(threads);
        try {
          for (const rows of [1, 7]) {
            const testCase = normalCase(rows, 700, 811, 0.4);
            const first = native(testCase);
            expectReference(testCase, first);
            for (let i = 0; i < 20; i++) expect(native(testCase)).to.deep.equal(first);
          }
        } finally {
          addon.setThreads(before);
        }
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

    it('equal the reference for any shape, threshold and values', () => {
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

    it('serve several worker threads at once', async function () {
      this.timeout(120_000);
      const {x, kernel, threshold, ...sizes} = normalCase(1, 500, 600, 0.5);
      const expected = native({x, kernel, threshold, ...sizes});
      const workerData = {
        main: `${tfjsNodeDir}/dist/index.js`,
        addon: addonPath,
        expected,
        inputs: [
          {values: x, shape: [1, 500]},
          {values: kernel, shape: [500, 600]},
          {values: threshold, shape: [1]},
        ],
      };
      const run = () =>
        new Promise<number>((resolve, reject) => {
          const worker = new Worker(WORKER, {eval: true, workerData, execArgv: []});
          worker.once('message', resolve);
          worker.once('error', reject);
        });
      const worst = await Promise.all([run(), run(), run()]);
      // The number of threads is that of the process, so the order of additions is the same and so are the bits.
      expect(worst).to.deep.equal([0, 0, 0]);
    });
  });

  it('multiply few rows and small products themselves, to the last', () => {
    expect(multipliesItself(12, 2 ** 20, 2 ** 20)).to.equal(true);
    expect(multipliesItself(13, 2 ** 20, 2 ** 20)).to.equal(false);
    expect(multipliesItself(2 ** 7, 2 ** 10, 2 ** 10)).to.equal(true);
    expect(multipliesItself(2 ** 7 + 1, 2 ** 10, 2 ** 10)).to.equal(false);
    expect(multipliesItself(1, 4096, 11008)).to.equal(true);
    expect(multipliesItself(64, 576, 1536)).to.equal(true);
    expect(multipliesItself(256, 576, 1536)).to.equal(false);
    expect(multipliesItself(16, 4096, 11008)).to.equal(false);
  });
});
