/**
 * @file Times `SparsifiedMatMul` beside the dense operations of the same backend. Weights, inputs and with them the masks
 * rotate beyond the last-level cache, calls of all variants take turns, and the read bandwidth of the machine is
 * measured in between: a figure from a disturbed minute is disturbed in all columns alike.
 */
import {existsSync, readFileSync} from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import {median} from '../../../lib/eval/latency.js';
import {SPARSIFIED_MATMUL} from '../../../lib/kernels/contract.js';
import {sparsifiedMatMulFallback} from '../../../lib/kernels/fallback.js';
import {runKernel} from '../../../lib/tfjs.js';
import type {BandwidthMeter} from './bandwidth.js';
import {tensorflowMatMul} from './tensorflow-ops.js';

/** Fewer calls of each variant than this say little; a slow shape takes longer than asked for instead. */
const MIN_ROUNDS = 7;
/** But no setting takes much longer than this. */
const MAX_SECONDS = 20;
const MAX_WEIGHT_BYTES = 2 ** 30;
/** Inputs of the same number of rows, each with masks of its own; where there are fewer weights they go around. */
const MAX_INPUTS = 64;

export interface KernelRow {
  readonly backend: string;
  readonly dtype: 'float32';
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
  /** Time of our kernel with nothing masked over ours; null if sparsity 0 was not asked for. */
  readonly vsOwnDense: number | null;
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
  work: (kernels: readonly tf.Tensor2D[]) => Promise<T>,
): Promise<T> {
  const values = uniformValues(inputSize * units, 1);
  const kernels = Array.from({length: copiesBeyondCache(values.byteLength)}, () => {
    const kernel = tf.tensor2d(values.slice(), [inputSize, units]);
    // Uploads it now, so that the copy in JavaScript's memory can go before the next one is made.
    if (tf.getBackend() === 'tensorflow') tf.dispose(tf.slice(kernel, 0, 1));
    return kernel;
  });
  try {
    return await work(kernels);
  } finally {
    tf.dispose([...kernels]);
  }
}

/** One row for each sparsity of the setting. */
export async function measureKernel(
  setting: KernelSetting,
  kernels: readonly tf.Tensor2D[],
  meter: BandwidthMeter,
): Promise<KernelRow[]> {
  const {inputSize, rows, sparsities, seconds} = setting;
  // Uniform in [-1, 1): the share s of the values is at most s in magnitude.
  const xs = Array.from({length: Math.min(MAX_INPUTS, Math.max(4, kernels.length))}, (_, i) =>
    tf.tensor2d(uniformValues(rows * inputSize, 1000 + i), [rows, inputSize]),
  );
  const thresholds = sparsities.map((sparsity) => tf.scalar(sparsity === 0 ? -Infinity : sparsity));
  const variants: ((x: tf.Tensor2D, kernel: tf.Tensor2D) => tf.Tensor)[] = [
    (x, kernel) => tf.matMul(x, kernel),
    bestDense,
    ...thresholds.map((threshold) => (x: tf.Tensor2D, kernel: tf.Tensor2D) => own(x, kernel, threshold)),
  ];
  const times: number[][] = variants.map(() => []);
  const before = meter.samples.length;

  let next = 0;
  const call = async (variant: number): Promise<number> => {
    next++;
    const [x, kernel] = [xs[next % xs.length], kernels[next % kernels.length]];
    const start = performance.now();
    const y = variants[variant](x, kernel);
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
  tf.dispose([xs, thresholds]);
  return toRows(setting, times, median(meter.samples.slice(before)));
}

/**
 * @param times Of tf.matMul, of the best dense operation, and of ours at each sparsity.
 * @param bandwidth Bytes a second; NaN if it was not measured.
 */
function toRows(
  {inputSize, units, rows, sparsities}: KernelSetting,
  times: readonly number[][],
  bandwidth: number,
): KernelRow[] {
  const [stock, dense, ...owns] = times.map(median);
  const best = Math.min(stock, dense);
  const ownDense = sparsities.includes(0) ? owns[sparsities.indexOf(0)] : null;
  return sparsities.map((sparsity, j) => {
    const sorted = [...times[j + 2]].sort((a, b) => a - b);
    const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))];
    // What at least one row of x keeps.
    const readBytes = inputSize * units * 4 * (1 - sparsity ** rows);
    return {
      backend: tf.getBackend(),
      dtype: 'float32',
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

/** The op `MatMul` on tensorflow, where tf.matMul runs BatchMatMulV2. */
function bestDense(x: tf.Tensor2D, kernel: tf.Tensor2D): tf.Tensor {
  return tf.getBackend() === 'tensorflow' ? tensorflowMatMul(x, kernel) : tf.matMul(x, kernel);
}

/** Seeded values, uniform in [-1, 1); a tenth of the time of tf.randomUniform. */
function uniformValues(count: number, seed: number): Float32Array {
  const values = new Float32Array(count);
  let state = Math.imul(seed, 0x9e3779b1) | 1;
  for (let i = 0; i < count; i++) {
    state ^= state << 13; // xorshift32
    state ^= state >>> 17;
    state ^= state << 5;
    values[i] = state / 2 ** 31;
  }
  return values;
}
