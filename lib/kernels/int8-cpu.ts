/**
 * @file The INT8 kernels for the cpu backend, in plain TypeScript: weights stay INT8 in memory, and only rows of the
 * kernel that some row of x keeps are read. A few of them at a time are dequantized into a buffer that fits the cache,
 * then added to the output of every row of x.
 */
import type * as tf from '@tensorflow/tfjs';
import {rowDequantizer, strideOf} from '../quantization/int8.js';
import {ACTIVATE, type FusedActivation} from './activations.js';
import type {SparsifiedMatMulAttrs} from './contract.js';
import {
  DEQUANTIZE_INT8,
  SPARSIFIED_MATMUL_INT8,
  type Int8Infos,
  type SparsifiedMatMulInt8Inputs,
} from './int8-contract.js';

/** Rows of the kernel in one pass over the output, as in cpu.ts. */
const ROWS_PER_PASS = 4;

/** An INT8 matrix with a scale a column. */
export interface CpuInt8Matrix {
  /** [rows, stride]. */
  readonly values: Int8Array;
  /** [columns]. */
  readonly scale: Float32Array;
  /** [columns]. */
  readonly zeroPoint: Float32Array;
}

export interface CpuInt8Args {
  /** [rows, K]. */
  readonly x: Float32Array;
  /** [K, N]. */
  readonly kernel: CpuInt8Matrix;
  /** One value, or one per input [K]. */
  readonly threshold: Float32Array;
  /** [N]; empty for none. */
  readonly bias: Float32Array;
  readonly activation: FusedActivation;
  readonly inputSize: number;
}

/** @returns [rows, N]. */
export function sparsifiedMatMulInt8Cpu(args: CpuInt8Args): Float32Array {
  const {x, kernel, threshold, bias, activation, inputSize} = args;
  const units = kernel.scale.length;
  const stride = strideOf(units);
  const rows = inputSize === 0 ? 0 : x.length / inputSize;
  const output = new Float32Array(rows * units);
  if (bias.length > 0) for (let row = 0; row < rows; row++) output.set(bias, row * units);

  const masked = maskRows(x, threshold, inputSize);
  const kept = keptByAny(masked, rows, inputSize);
  const dequantize = rowDequantizer(kernel.scale, kernel.zeroPoint);
  const weights = new Float32Array(ROWS_PER_PASS * units);
  for (let i = 0; i < kept.length; i += ROWS_PER_PASS) {
    const pass = kept.subarray(i, i + ROWS_PER_PASS);
    for (let j = 0; j < pass.length; j++) dequantize(kernel.values, pass[j] * stride, weights, j * units);
    for (let row = 0; row < rows; row++) {
      addRows(masked, row * inputSize, pass, weights, output, row * units, units);
    }
  }
  if (activation !== 'linear') {
    const apply = ACTIVATE[activation];
    for (let i = 0; i < output.length; i++) output[i] = apply(output[i]);
  }
  return output;
}

/** x with 0 where it is masked. */
function maskRows(x: Float32Array, threshold: Float32Array, inputSize: number): Float32Array {
  const masked = new Float32Array(x.length);
  const perInput = threshold.length > 1;
  for (let i = 0; i < x.length; i++) {
    masked[i] = Math.abs(x[i]) <= threshold[perInput ? i % inputSize : 0] ? 0 : x[i];
  }
  return masked;
}

/** The inputs that are not 0 in every row, ascending. INT8 weights are finite: a 0 may be left out. */
function keptByAny(masked: Float32Array, rows: number, inputSize: number): Int32Array {
  const kept = new Int32Array(inputSize);
  let count = 0;
  for (let k = 0; k < inputSize; k++) {
    let row = 0;
    while (row < rows && masked[row * inputSize + k] === 0) row++;
    kept[count] = k;
    count += row < rows ? 1 : 0;
  }
  return kept.subarray(0, count);
}

/** output[n] += sum over the rows of this pass of their x times their weights [n]. */
function addRows(
  x: Float32Array,
  xOffset: number,
  pass: Int32Array,
  weights: Float32Array,
  output: Float32Array,
  outputOffset: number,
  units: number,
): void {
  if (pass.length === ROWS_PER_PASS) {
    const v0 = x[xOffset + pass[0]];
    const v1 = x[xOffset + pass[1]];
    const v2 = x[xOffset + pass[2]];
    const v3 = x[xOffset + pass[3]];
    if (v0 === 0 && v1 === 0 && v2 === 0 && v3 === 0) return;
    for (let n = 0; n < units; n++) {
      output[outputOffset + n] +=
        v0 * weights[n] + v1 * weights[units + n] + v2 * weights[2 * units + n] + v3 * weights[3 * units + n];
    }
    return;
  }
  for (let j = 0; j < pass.length; j++) {
    const value = x[xOffset + pass[j]];
    for (let n = 0; n < units; n++) output[outputOffset + n] += value * weights[j * units + n];
  }
}

interface CpuBackend {
  readonly data: {get(dataId: object): {values: tf.BackendValues}};
  makeTensorInfo(shape: number[], dtype: tf.DataType, values: Float32Array): tf.TensorInfo;
}

/** The multiplication's registration for the cpu backend. */
export const cpuInt8KernelConfig: tf.KernelConfig = {
  kernelName: SPARSIFIED_MATMUL_INT8,
  backendName: 'cpu',
  kernelFunc: ({inputs, backend, attrs}) => {
    const cpu = backend as CpuBackend;
    const {x, threshold, bias, ...kernel} = inputs as unknown as SparsifiedMatMulInt8Inputs;
    const output = sparsifiedMatMulInt8Cpu({
      x: floats(cpu, x),
      kernel: matrixOf(cpu, kernel),
      threshold: floats(cpu, threshold),
      bias: bias === undefined ? new Float32Array(0) : floats(cpu, bias),
      activation: (attrs as unknown as SparsifiedMatMulAttrs).activation,
      inputSize: kernel.values.shape[0],
    });
    return cpu.makeTensorInfo([...x.shape.slice(0, -1), kernel.scale.shape[0]], 'float32', output);
  },
};

/** The dequantization's registration for the cpu backend. */
export const cpuDequantizeConfig: tf.KernelConfig = {
  kernelName: DEQUANTIZE_INT8,
  backendName: 'cpu',
  kernelFunc: ({inputs, backend}) => {
    const cpu = backend as CpuBackend;
    const matrix = inputs as unknown as Int8Infos;
    const {values, scale, zeroPoint} = matrixOf(cpu, matrix);
    const [rows] = matrix.values.shape;
    const columns = scale.length;
    const stride = strideOf(columns);
    const weights = new Float32Array(rows * columns);
    const dequantize = rowDequantizer(scale, zeroPoint);
    for (let row = 0; row < rows; row++) dequantize(values, row * stride, weights, row * columns);
    return cpu.makeTensorInfo([rows, columns], 'float32', weights);
  },
};

function matrixOf(cpu: CpuBackend, {values, scale, zeroPoint}: Int8Infos): CpuInt8Matrix {
  const words = cpu.data.get(values.dataId).values as Int32Array;
  return {
    values: new Int8Array(words.buffer, words.byteOffset, words.byteLength),
    scale: floats(cpu, scale),
    zeroPoint: floats(cpu, zeroPoint),
  };
}

function floats(cpu: CpuBackend, info: tf.TensorInfo): Float32Array {
  return cpu.data.get(info.dataId).values as Float32Array;
}
