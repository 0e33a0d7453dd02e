/**
 * @file `SparsifiedMatMul` for the cpu backend, in plain TypeScript: the kept inputs of a row are gathered, then
 * their rows of the kernel are added to the output eight at a time, each read once from start to end.
 */
import type * as tf from '@tensorflow/tfjs';
import {ACTIVATE, type FusedActivation} from './activations.js';
import {
  SPARSIFIED_MATMUL,
  type SparsifiedMatMulAttrs,
  type SparsifiedMatMulInputs,
} from './sparsified-matmul-kernel.js';

/** Rows of the kernel added in one pass over the output: fewer passes, and few enough values to stay in registers. */
const ROWS_PER_PASS = 8;

interface CpuKernelArgs {
  /** [rows, K]. */
  readonly x: Float32Array;
  /** [K, N]. */
  readonly kernel: Float32Array;
  /** One value, or one per input [K]. */
  readonly threshold: Float32Array;
  /** [N]; empty for none. */
  readonly bias: Float32Array;
  readonly activation: FusedActivation;
  readonly inputSize: number;
  readonly units: number;
}

/** @returns [rows, N]. */
function sparsifiedMatMulCpu(args: CpuKernelArgs): Float32Array {
  const {x, kernel, threshold, bias, activation, inputSize, units} = args;
  const rows = inputSize === 0 ? 0 : x.length / inputSize;
  const output = new Float32Array(rows * units);
  const kept = new Int32Array(inputSize);
  for (let row = 0; row < rows; row++) {
    const values = x.subarray(row * inputSize, (row + 1) * inputSize);
    const count = gatherKept(values, threshold, kept);
    const sums = output.subarray(row * units, (row + 1) * units);
    if (bias.length > 0) sums.set(bias);
    addKeptRows(values, kept, count, kernel, sums);
  }
  activateInPlace(output, activation);
  return output;
}

/** Applies an activation to every value. */
export function activateInPlace(values: Float32Array, activation: FusedActivation): void {
  if (activation === 'linear') return;
  if (activation === 'relu') {
    for (let i = 0; i < values.length; i++) if (values[i] < 0) values[i] = 0;
    return;
  }
  const apply = ACTIVATE[activation];
  for (let i = 0; i < values.length; i++) values[i] = apply(values[i]);
}

/** Writes the indices of the inputs that are kept into `kept`; returns how many there are. */
export function gatherKept(values: Float32Array, threshold: Float32Array, kept: Int32Array): number {
  const perInput = threshold.length > 1;
  let count = 0;
  for (let k = 0; k < values.length; k++) {
    // Written without a branch on the data: a mask of one half mispredicts every second time.
    kept[count] = k;
    count += Math.abs(values[k]) <= threshold[perInput ? k : 0] ? 0 : 1;
  }
  return count;
}

/** sums[n] += sum over the kept k of values[k] * kernel[k, n]. */
function addKeptRows(
  values: Float32Array,
  kept: Int32Array,
  count: number,
  kernel: Float32Array,
  sums: Float32Array,
): void {
  const units = sums.length;
  let i = 0;
  for (; i + ROWS_PER_PASS <= count; i += ROWS_PER_PASS) {
    const [k0, k1, k2, k3] = [kept[i], kept[i + 1], kept[i + 2], kept[i + 3]];
    const [k4, k5, k6, k7] = [kept[i + 4], kept[i + 5], kept[i + 6], kept[i + 7]];
    const [v0, v1, v2, v3] = [values[k0], values[k1], values[k2], values[k3]];
    const [v4, v5, v6, v7] = [values[k4], values[k5], values[k6], values[k7]];
    const [o0, o1, o2, o3] = [k0 * units, k1 * units, k2 * units, k3 * units];
    const [o4, o5, o6, o7] = [k4 * units, k5 * units, k6 * units, k7 * units];
    for (let n = 0; n < units; n++) {
      const first = v0 * kernel[o0 + n] + v1 * kernel[o1 + n] + (v2 * kernel[o2 + n] + v3 * kernel[o3 + n]);
      const second = v4 * kernel[o4 + n] + v5 * kernel[o5 + n] + (v6 * kernel[o6 + n] + v7 * kernel[o7 + n]);
      sums[n] += first + second;
    }
  }
  for (; i < count; i++) {
    const value = values[kept[i]];
    const offset = kept[i] * units;
    for (let n = 0; n < units; n++) sums[n] += value * kernel[offset + n];
  }
}

/** What the kernels use of the cpu backend. */
export interface CpuBackend {
  readonly data: {get(dataId: object): {values: tf.BackendValues}};
  makeTensorInfo(shape: number[], dtype: tf.DataType, values: Float32Array): tf.TensorInfo;
}

/** The numbers of a float32 tensor. */
export function floatsIn(cpu: CpuBackend, info: tf.TensorInfo): Float32Array {
  return cpu.data.get(info.dataId).values as Float32Array;
}

/** The numbers of an int32 tensor. */
export function wordsIn(cpu: CpuBackend, info: tf.TensorInfo): Int32Array {
  return cpu.data.get(info.dataId).values as Int32Array;
}

/** The kernel's registration for the cpu backend. */
export const cpuKernelConfig: tf.KernelConfig = {
  kernelName: SPARSIFIED_MATMUL,
  backendName: 'cpu',
  kernelFunc: ({inputs, backend, attrs}) => {
    const cpu = backend as CpuBackend;
    const {x, kernel, threshold, bias} = inputs as unknown as SparsifiedMatMulInputs;
    const [inputSize, units] = kernel.shape;
    const output = sparsifiedMatMulCpu({
      x: floatsIn(cpu, x),
      kernel: floatsIn(cpu, kernel),
      threshold: floatsIn(cpu, threshold),
      bias: bias === undefined ? new Float32Array(0) : floatsIn(cpu, bias),
      activation: (attrs as unknown as SparsifiedMatMulAttrs).activation,
      inputSize,
      units,
    });
    return cpu.makeTensorInfo([...x.shape.slice(0, -1), units], 'float32', output);
  },
};
