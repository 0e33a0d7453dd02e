/** @file The kernels of `tfjs-sparsify/wasm` in Node, where the memory of backend wasm is not shared; spec/browser has them in pages. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {sparsifiedMatMul} from '../../lib/kernels/sparsified-matmul.js';
import {INT4_KINDS} from '../../lib/quantization/int4.js';
import {INT8_MODES} from '../../lib/quantization/int8.js';
import {registerWasmKernels} from '../../lib/wasm.js';
import * as kernels from '../browser/pages/wasm-kernels.js';
import {checkForLeaks} from '../support/backends.js';
import {normals} from '../support/normals.js';
import {rejection} from '../support/rejection.js';

describe('the kernels in WebAssembly, in Node', () => {
  before(async () => {
    await kernels.start(null);
  });
  checkForLeaks();

  it('equal the definition for every shape, sparsity, bias and activation', () => {
    expect(kernels.sweep()).to.be.above(200);
  }).timeout(60_000);

  it('equal the definition with weights in INT8', () => {
    expect(kernels.sweepInt8()).to.be.above(200 * INT8_MODES.length);
    expect(kernels.dequantizationError()).to.equal(0);
  }).timeout(60_000);

  it('equal the definition with weights in INT4', () => {
    expect(kernels.sweepInt4()).to.be.above(200 * INT4_KINDS.length);
    expect(kernels.int4DequantizationError()).to.equal(0);
  }).timeout(60_000);

  it('read tensors that another backend has', async () => {
    await tf.setBackend('cpu');
    const [x, kernel] = [tf.tensor2d([1, -0.1, 2], [1, 3]), tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2])];
    await tf.setBackend('wasm');
    const threshold = tf.scalar(0.5);
    const y = sparsifiedMatMul(x, kernel, threshold); // 1 * [1, 2] + 2 * [5, 6]
    expect([...y.dataSync()]).to.deep.equal([11, 14]);
    tf.dispose([x, kernel, threshold, y]);
  });

  it('leave out what a masked row of the kernel holds, be it NaN, of up to two rows of x', () => {
    for (const rows of [1, 2]) {
      tf.tidy(() => {
        const x = tf.tensor2d(
          new Float32Array(2 * rows).map((_value, i) => (i % 2 === 0 ? 3 : 0.1)),
          [rows, 2],
        );
        const kernel = tf.tensor2d([1, 2, NaN, Infinity], [2, 2]);
        const y = sparsifiedMatMul(x, kernel, tf.scalar(0.5));
        expect([...y.dataSync()]).to.deep.equal(new Array(rows).fill([3, 6]).flat());
      });
    }
  });

  it('choose by what rows of x keep between them, with the same result', () => {
    // 4 rows that keep the same quarter of the inputs skip; 4 that keep another quarter each are multiplied by the backend.
    const [rows, inputSize, units] = [4, 512, 512];
    const weights = normals(inputSize * units, 1);
    for (const apart of [0, 1]) {
      tf.tidy(() => {
        const x = new Float32Array(rows * inputSize);
        for (let r = 0; r < rows; r++) {
          for (let k = 0; k < inputSize; k++) x[r * inputSize + k] = k % 4 === r * apart ? 2 : 0.25;
        }
        const kernel = tf.tensor2d(weights, [inputSize, units]);
        const given = tf.tensor2d(x, [rows, inputSize]);
        const y = sparsifiedMatMul(given, kernel, tf.scalar(0.5), {activation: 'relu'}).dataSync();
        const masked = tf.tensor2d(
          x.map((value) => (value > 0.5 ? value : 0)),
          [rows, inputSize],
        );
        const expected = tf.relu(tf.matMul(masked, kernel)).dataSync();
        const largest = Math.max(...expected);
        y.forEach((value, i) => expect(value).to.be.closeTo(expected[i], 1e-5 * largest));
      });
    }
  });
});

describe('registerWasmKernels', () => {
  it('gives the same again, and refuses what it does not know', async () => {
    const first = await registerWasmKernels();
    expect(await registerWasmKernels({threads: 1})).to.equal(first);
    for (const [options, code] of [
      [{threads: 0}, 'bad-option'],
      [{threads: 1.5}, 'bad-option'],
      [{threads: 17}, 'bad-option'],
      [{thread: 2}, 'unknown-option'],
    ] as const) {
      await rejection(() => registerWasmKernels(options as object), code);
    }
  });
});
