/**
 * @file Times `SparsifiedMatMul` beside the dense operations of the same backend. Weights, inputs and with them the masks
 * rotate beyond the last-level cache, calls of all variants take turns, and the read bandwidth of the machine is
 * measured in between: a figure from a disturbed minute is disturbed in all columns alike.
 */
import {existsSync, readFileSync} from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import {median} from '../../../lib/eval/latency.js';
import {SPARSIFIED_MATMUL} from '../../../lib/kernels/sparsified-matmul-kernel.js';
import {sparsifiedMatMulFallback} from '../../../lib/kernels/any-backend.js';
import {SPARSIFIED_MATMUL_INT8, type Int8Matrix} from '../../../lib/kernels/int8-kernels.js';
import {compressedMatMulFallback} from '../../../lib/kernels/compressed-any-backend.js';
import {dequantizeInt8, quantizeInt8, strideOf} from '../../../lib/quantization/int8.js';
import {runKernel} from '../../../lib/tfjs.js';
import type {BandwidthMeter} from './bandwidth.js';
import {tensorflowMatMul} from './tensorflow-ops.js';
import {uniformValues} from './uniform-values.js';

/** Fewer calls of each variant than this say little; a slow shape takes longer than asked for instead. */
const MIN_ROUNDS = 7;
/** But no setting takes much longer than this. */
const MAX_SECONDS = 20;
const MAX_WEIGHT_BYTES = 2 ** 30;
/** Inputs of the same number of rows, each with masks of its own; where there are fewer weights they go around. */
const MAX_INPUTS = 64;

/** Of the weights that our kernel reads; the others read float32, the dequantized weights if ours are INT8. */
export type KernelDtype = 'float32' | 'int8';

/** The same weights several times: as float32, and as INT8 if that is to be measured. */
export interface Kernels {
  readonly float: readonly tf.Tensor2D[];
  readonly int8?: readonly Int8Matrix[];
}

export interface KernelRow {
  readonly backend: string;
  readonly dtype: KernelDtype;
  readonly shape: string;
  readonly rows: number;
  /** Share of x that is masked. */
  readonly sparsity: number;
  readonly medianMs: number;
  readonly minMs: number;
  /** 10 % of the calls took less than the first, 10 % more than the second. */
  readonly spreadMs: readonly [number, number];
  readonly calls: number;
  /** Time of tf.matMul over ours, medians. */
  readonly vsStock: number;
  /** Time of the fastest dense operation there is, on tensorflow the op `MatMul`, over ours. */
  readonly vsBestDense: number;
  /** Time of our kernel of this dtype with nothing masked over ours; null if sparsity 0 was not asked for. */
  readonly vsOwnDense: number | null;
  /** Time of our float32 kernel with nothing masked over ours; null if both are the same kernel. */
  readonly vsOwnFloat32: number | null;
  /** The same of the least times: what the machine can do when nothing else runs on it. */
  readonly minVsStock: number;
  readonly minVsOwnFloat32: number | null;
  /** Weights that had to be read, a second, over the bandwidth measured meanwhile; null without the native kernels. */
  readonly bandwidthShare: number | null;
}

export interface KernelSetting {
  readonly inputSize: number;
  readonly units: number;
  readonly rows: number;
  readonly sparsities: readonly number[];
  /** For all variants together. */
  readonly seconds: number;
}

/** Runs `work` with as many kernels [inputSize, units] as no cache holds, and frees them. */
export async function withKernels<T>(
  inputSize: number,
  units: number,
  dtype: KernelDtype,
  work: (kernels: Kernels) => Promise<T>,
): Promise<T> {
  const values = uniformValues(inputSize * units, 1);
  const made: tf.Tensor[] = [];
  const upload = <T extends tf.Tensor>(tensor: T): T => {
    made.push(tensor);
    // Uploads it now, so that the copy in JavaScript's memory can go before the next one is made.
    if (tf.getBackend() === 'tensorflow') tf.dispose(tf.slice(tensor, 0, 1));
    return tensor;
  };
  const floats = (weights: Float32Array) =>
    Array.from({length: copiesBeyondCache(weights.byteLength)}, () =>
      upload(tf.tensor2d(weights.slice(), [inputSize, units])),
    );
  try {
    if (dtype === 'float32') return await work({float: floats(values)});
    const shape = {rows: inputSize, columns: units, channels: 'columns'} as const;
    const matrix = quantizeInt8(values, shape, 'int8_asym');
    const int8 = Array.from({length: copiesBeyondCache(matrix.values.byteLength)}, () => ({
      values: upload(
        tf.tensor2d(new Int32Array(matrix.values.slice().buffer), [inputSize, matrix.stride / 4], 'int32'),
      ),
      scale: upload(tf.tensor1d(matrix.scale)),
      zeroPoint: upload(tf.tensor1d(matrix.zeroPoint)),
    }));
    return await work({float: floats(dequantizeInt8(matrix)), int8});
  } finally {
    tf.dispose(made);
  }
}

/** One row for each sparsity of the setting. */
export async function measureKernel(
  setting: KernelSetting,
  kernels: Kernels,
  meter: BandwidthMeter,
): Promise<KernelRow[]> {
  const {inputSize, rows, sparsities, seconds} = setting;
  // Uniform in [-1, 1): the share s of the values is at most s in magnitude.
  const xs = Array.from({length: Math.min(MAX_INPUTS, Math.max(4, kernels.float.length))}, (_, i) =>
    tf.tensor2d(uniformValues(rows * inputSize, 1000 + i), [rows, inputSize]),
  );
  const thresholds = sparsities.map((sparsity) => tf.scalar(sparsity === 0 ? -Infinity : sparsity));
  const all = tf.scalar(-Infinity);
  const {float, int8} = kernels;
  const variants: ((x: tf.Tensor2D, turn: number) => tf.Tensor)[] = [
    (x, turn) => tf.matMul(x, float[turn % float.length]),
    (x, turn) => bestDense(x, float[turn % float.length]),
    ...(int8 === undefined
      ? []
      : [(x: tf.Tensor2D, turn: number) => own(x, float[turn % float.length], all)]),
    ...thresholds.map((threshold) =>
      int8 === undefined
        ? (x: tf.Tensor2D, turn: number) => own(x, float[turn % float.length], threshold)
        : (x: tf.Tensor2D, turn: number) => ownInt8(x, int8[turn % int8.length], threshold),
    ),
  ];
  const times: number[][] = variants.map(() => []);
  const before = meter.samples.length;

  let next = 0;
  const call = async (variant: number): Promise<number> => {
    next++;
    const x = xs[next % xs.length];
    const start = performance.now();
    const y = variants[variant](x, next);
    if (tf.getBackend() !== 'tensorflow') await y.data();
    const took = performance.now() - start;
    y.dispose();
    return took;
  };
  for (let variant = 0; variant < variants.length; variant++) await call(variant);
  const start = performance.now();
  const elapsed = () => (performance.now() - start) / 1000;
  for (let round = 0; (round < MIN_ROUNDS && elapsed() < MAX_SECONDS) || elapsed() < seconds; round++) {
    if (round % 4 === 0) meter.measure();
    for (let turn = 0; turn < variants.length; turn++) {
      const variant = (turn + round) % variants.length;
      times[variant].push(await call(variant));
    }
  }
  tf.dispose([xs, thresholds, all]);
  return toRows(setting, int8 === undefined ? 'float32' : 'int8', times, median(meter.samples.slice(before)));
}

/**
 * @param times Of tf.matMul, of the best dense operation, of our float32 kernel if ours is INT8, and of ours at each
 *     sparsity.
 * @param bandwidth Bytes a second; NaN if it was not measured.
 */
function toRows(
  {inputSize, units, rows, sparsities}: KernelSetting,
  dtype: KernelDtype,
  times: readonly number[][],
  bandwidth: number,
): KernelRow[] {
  const least = times.map((calls) => Math.min(...calls));
  const first = dtype === 'int8' ? 3 : 2;
  const [stock, dense, float] = times.map(median);
  const owns = times.slice(first).map(median);
  const best = Math.min(stock, dense);
  const rowBytes = dtype === 'int8' ? strideOf(units) : units * 4;
  const ownDense = sparsities.includes(0) ? owns[sparsities.indexOf(0)] : null;
  return sparsities.map((sparsity, j) => {
    const sorted = [...times[j + first]].sort((a, b) => a - b);
    const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))];
    // What at least one row of x keeps.
    const readBytes = inputSize * rowBytes * (1 - sparsity ** rows);
    return {
      backend: tf.getBackend(),
      dtype,
      shape: `${inputSize}x${units}`,
      rows,
      sparsity,
      medianMs: owns[j],
      minMs: sorted[0],
      spreadMs: [at(0.1), at(0.9)],
      calls: sorted.length,
      vsStock: stock / owns[j],
      vsBestDense: best / owns[j],
      vsOwnDense: ownDense === null ? null : ownDense / owns[j],
      vsOwnFloat32: dtype === 'int8' ? float / owns[j] : null,
      minVsStock: least[0] / sorted[0],
      minVsOwnFloat32: dtype === 'int8' ? least[2] / sorted[0] : null,
      bandwidthShare: Number.isNaN(bandwidth) ? null : readBytes / (owns[j] / 1000) / bandwidth,
    };
  });
}

/**
 * About how many seconds a setting takes on 2 cores, or on one with the cpu backend: for an estimate before anything
 * has been measured.
 */
export function expectedSeconds({inputSize, units, rows, sparsities, seconds}: KernelSetting): number {
  const weights = inputSize * units;
  const onCpu = tf.getBackend() === 'cpu';
  const [bytesPerSecond, multiplicationsPerSecond] = onCpu ? [2e9, 2e8] : [2e10, 4e10];
  const call = Math.max((4 * weights) / bytesPerSecond, (rows * weights) / multiplicationsPerSecond);
  const variants = sparsities.length + 2;
  return Math.max(seconds, Math.min(MAX_SECONDS, MIN_ROUNDS * variants * call)) + variants * call;
}

/** How many weights of this size together exceed the last-level cache four times. */
function copiesBeyondCache(bytes: number): number {
  const copies = Math.max(2, Math.ceil((4 * lastLevelCacheBytes()) / bytes));
  return Math.max(2, Math.min(copies, Math.floor(MAX_WEIGHT_BYTES / bytes)));
}

function lastLevelCacheBytes(): number {
  const path = '/sys/devices/system/cpu/cpu0/cache/index3/size';
  const kilobytes = existsSync(path) ? Number.parseInt(readFileSync(path, 'utf8'), 10) : NaN;
  return (Number.isNaN(kilobytes) ? 65536 : kilobytes) * 1024;
}

function own(x: tf.Tensor2D, kernel: tf.Tensor2D, threshold: tf.Tensor): tf.Tensor {
  return tf.getKernel(SPARSIFIED_MATMUL, tf.getBackend()) === undefined
    ? sparsifiedMatMulFallback({x, kernel, threshold, activation: 'linear'})
    : runKernel(SPARSIFIED_MATMUL, {x, kernel, threshold}, {activation: 'linear'});
}

function ownInt8(x: tf.Tensor2D, kernel: Int8Matrix, threshold: tf.Tensor): tf.Tensor {
  return tf.getKernel(SPARSIFIED_MATMUL_INT8, tf.getBackend()) === undefined
    ? compressedMatMulFallback({x, kernel, threshold, activation: 'linear'})
    : runKernel(SPARSIFIED_MATMUL_INT8, {x, ...kernel, threshold}, {activation: 'linear'});
}

/** The op `MatMul` on tensorflow, where tf.matMul runs BatchMatMulV2. */
function bestDense(x: tf.Tensor2D, kernel: tf.Tensor2D): tf.Tensor {
  return tf.getBackend() === 'tensorflow' ? tensorflowMatMul(x, kernel) : tf.matMul(x, kernel);
}
