/** @file The kernels of `tfjs-sparsify/wasm` on backend wasm, held against the definition where this module runs. */
import * as tf from '@tensorflow/tfjs';
import type {SparsifyError} from '../../../lib/errors.js';
import {FUSED_ACTIVATIONS} from '../../../lib/kernels/activations.js';
import {dequantizeInt4Matrix} from '../../../lib/kernels/int4-dequantize.js';
import {SPARSIFIED_MATMUL_INT4} from '../../../lib/kernels/int4-kernels.js';
import {SPARSIFIED_MATMUL_INT8} from '../../../lib/kernels/int8-kernels.js';
import {dequantizeColumns} from '../../../lib/kernels/int8-dequantize.js';
import {SPARSIFIED_MATMUL} from '../../../lib/kernels/sparsified-matmul-kernel.js';
import {INT4_KINDS, dequantizeInt4} from '../../../lib/quantization/int4.js';
import {INT8_MODES, dequantizeInt8} from '../../../lib/quantization/int8.js';
import {registerWasmKernels} from '../../../lib/wasm.js';
import {checkInt4MatMul, type Int4MatMulCase} from '../../support/kernels/int4-matmul-check.js';
import {int4Tensors, int4Values} from '../../support/kernels/int4-matrix.js';
import {
  checkInt8MatMul,
  quantized,
  tensorsOf,
  type Int8MatMulCase,
} from '../../support/kernels/int8-matmul-check.js';
import {ROWS, SHAPES, SPARSITIES, checkMatMul, type MatMulCase} from '../../support/kernels/matmul-check.js';
import {useBackend} from './backend.js';

/** Registers the kernels; tells on how many threads they compute, why, and whether there is one for each product. */
export async function start(threads: number | null) {
  await useBackend('wasm');
  const registered = await registerWasmKernels(threads === null ? {} : {threads});
  const kernels = [SPARSIFIED_MATMUL, SPARSIFIED_MATMUL_INT8, SPARSIFIED_MATMUL_INT4].map(
    (name) => tf.getKernel(name, 'wasm') !== undefined,
  );
  return {...registered, kernels};
}

/** Rows, inputs and units of every rest that loops leave over, and a few that are worth dividing among threads. */
function* cases(): Generator<MatMulCase & {seed: number}> {
  for (const sparsity of SPARSITIES) {
    for (const [inputSize, units] of SHAPES) {
      for (const rows of ROWS) yield {rows, inputSize, units, sparsity, seed: 1};
    }
  }
  for (let rows = 1; rows <= 33; rows++) {
    const activation = FUSED_ACTIVATIONS[rows % FUSED_ACTIVATIONS.length];
    const options = {bias: rows % 2 === 0, perInput: rows % 3 === 0, activation};
    yield {rows, inputSize: 16 + rows, units: 49 - rows, sparsity: 0.6, ...options, seed: rows};
    yield {rows, inputSize: 50 - rows, units: rows, sparsity: 0.2, bias: true, seed: rows};
  }
  for (const rows of [1, 3, 8]) {
    for (const sparsity of [0, 0.5]) {
      yield {rows, inputSize: 517, units: 259, sparsity, bias: true, activation: 'silu', seed: rows};
      yield {rows, inputSize: 259, units: 261, sparsity, perInput: true, seed: rows};
    }
  }
}

/** Holds every case against the definition. Returns how many there were. */
export function sweep(): number {
  let count = 0;
  for (const {seed, ...testCase} of cases()) {
    told(testCase, () => checkMatMul(testCase, seed));
    count++;
  }
  return count;
}

/** As {@link sweep}, for weights in INT8 of both modes. */
export function sweepInt8(): number {
  let count = 0;
  for (const {seed, ...testCase} of cases()) {
    for (const mode of INT8_MODES) {
      const int8Case: Int8MatMulCase = {...testCase, mode};
      told(int8Case, () => checkInt8MatMul(int8Case, seed));
      count++;
    }
  }
  return count;
}

/** As {@link sweep}, for weights in INT4 of every kind, in one group, and in as many as there are pairs of inputs or inputs. */
export function sweepInt4(): number {
  let count = 0;
  for (const {rows, inputSize, units, sparsity, activation} of cases()) {
    const threshold = sparsity === 0 ? -Infinity : 1.4 * sparsity;
    for (const kind of INT4_KINDS) {
      const groupSize = kind === 'sym' ? inputSize : inputSize % 2 === 0 ? 2 : 1;
      const shape = {rows: inputSize, columns: units, groupSize};
      const int4Case: Int4MatMulCase = {...shape, kind, count: rows, threshold, activation};
      told(int4Case, () => checkInt4MatMul(int4Case));
      count++;
    }
  }
  return count;
}

/** The largest difference of weights dequantized from INT4 to the definition. */
export function int4DequantizationError(): number {
  let most = 0;
  for (const kind of INT4_KINDS) {
    const matrix = int4Values({rows: 36, columns: 29, groupSize: 12}, kind, 3, 0.2);
    const expected = dequantizeInt4(matrix);
    const actual = tf.tidy(() => dequantizeInt4Matrix(int4Tensors(matrix)).dataSync());
    expected.forEach((value, i) => (most = Math.max(most, Math.abs(value - actual[i]))));
  }
  return most;
}

/** The largest difference of dequantized weights to the definition, of which every float is known. */
export function dequantizationError(): number {
  const matrix = quantized({rows: 37, columns: 29, channels: 'columns'}, 3, 0.2, 'int8_asym');
  const expected = dequantizeInt8(matrix);
  const actual = tf.tidy(() => dequantizeColumns(tensorsOf(matrix)).dataSync());
  return expected.reduce((most, value, i) => Math.max(most, Math.abs(value - actual[i])), 0);
}

/** Lets the memory of the backend grow by 256 MB, and holds products against the definition again. */
export function checkAfterGrowth(): void {
  const large = Array.from({length: 4}, () => tf.zeros([4096, 4096]));
  checkMatMul({rows: 1, inputSize: 517, units: 259, sparsity: 0.5, bias: true});
  checkInt8MatMul({rows: 1, inputSize: 517, units: 259, sparsity: 0.5, bias: true});
  tf.dispose(large);
}

/** What the registration ends with where WebAssembly has no SIMD; a product without a kernel is held against the definition. */
export async function startWithoutSimd(): Promise<{code: string; message: string}> {
  // Only who asks for SIMD validates a module: TensorFlow.js and this package.
  WebAssembly.validate = () => false;
  await useBackend('wasm');
  try {
    await registerWasmKernels();
  } catch (error) {
    checkMatMul({rows: 1, inputSize: 65, units: 130, sparsity: 0.5, bias: true});
    const {code, message} = error as SparsifyError;
    return {code, message};
  }
  throw new Error('the kernels were registered');
}

/** Tensors that products leave behind. */
export function leakedTensors(): number {
  const before = tf.memory().numTensors;
  checkMatMul({rows: 1, inputSize: 65, units: 130, sparsity: 0.5, bias: true});
  checkInt8MatMul({rows: 1, inputSize: 65, units: 130, sparsity: 0.5, bias: true});
  return tf.memory().numTensors - before;
}

/** Runs a check; what it throws then names the case. */
function told(testCase: object, check: () => void): void {
  try {
    check();
  } catch (error) {
    throw new Error(`${JSON.stringify(testCase)}: ${(error as Error).message}`, {cause: error});
  }
}
