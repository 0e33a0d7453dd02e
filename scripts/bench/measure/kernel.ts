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
import {compressedMatMulFallback} from '../../../lib/kernels/compressed-any-backend.js';
import {
  attrsOf,
  multiplierOf,
  tensorsOf,
  type CompressedMatrix,
} from '../../../lib/kernels/compressed-matrix.js';
import type {Int4Matrix} from '../../../lib/kernels/int4-kernels.js';
import type {Int8Matrix} from '../../../lib/kernels/int8-kernels.js';
import {BLOCK_COLUMNS, quantizeInt4} from '../../../lib/quantization/int4.js';
import {quantizeInt8, strideOf} from '../../../lib/quantization/int8.js';
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

/** Of the weights that our kernels read: float32, INT8 with a scale a column, or asymmetric INT4 in groups of {@link GROUP_SIZE}. */
export type KernelDtype = 'float32' | 'int8' | 'int4';

export const KERNEL_DTYPES: readonly KernelDtype[] = ['float32', 'int8', 'int4'];

/** Inputs that share a scale in an INT4 kernel. */
export const GROUP_SIZE = 64;

/** The same weights several times: as float32, and packed as far as that is to be measured. */
export interface Kernels {
  readonly float32: readonly tf.Tensor2D[];
  readonly int8?: readonly Int8Matrix[];
  readonly int4?: readonly Int4Matrix[];
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
  /** Time of our INT8 kernel with nothing masked over ours; null if that was not measured with it. */
  readonly vsOwnInt8: number | null;
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
  /** Ours, in turns. */
  readonly dtypes: readonly KernelDtype[];
  /** For all variants together. */
  readonly seconds: number;
}

/** Runs `work` with as many kernels [inputSize, units] of each dtype as no cache holds, and of float32 in any case, and frees them. */
export async function withKernels<T>(
  inputSize: number,
  units: number,
  dtypes: readonly KernelDtype[],
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
  const copies = <T>(bytes: number, make: () => T) => Array.from({length: copiesBeyondCache(bytes)}, make);
  const words = (matrix: Int32Array, rows: number) =>
    upload(tf.tensor2d(matrix.slice(), [rows, matrix.length / rows], 'int32'));
  try {
    const float32 = copies(values.byteLength, () => upload(tf.tensor2d(values.slice(), [inputSize, units])));
    const kernels = {float32, ...int8Kernels(), ...int4Kernels()};
    return await work(kernels);
  } finally {
    tf.dispose(made);
  }

  function int8Kernels(): Pick<Kernels, 'int8'> {
    if (!dtypes.includes('int8')) return {};
    const shape = {rows: inputSize, columns: units, channels: 'columns'} as const;
    const matrix = quantizeInt8(values, shape, 'int8_asym');
    const packed = new Int32Array(matrix.values.slice().buffer);
    const int8 = copies(packed.byteLength, () => ({
      values: words(packed, inputSize),
      scale: upload(tf.tensor1d(matrix.scale)),
      zeroPoint: upload(tf.tensor1d(matrix.zeroPoint)),
    }));
    return {int8};
  }

  function int4Kernels(): Pick<Kernels, 'int4'> {
    if (!dtypes.includes('int4')) return {};
    const shape = {rows: inputSize, columns: units, groupSize: GROUP_SIZE};
    const {columns, groupSize, kind, ...matrix} = quantizeInt4(values, shape, 'int4_asym');
    const groups = inputSize / GROUP_SIZE;
    const int4 = copies(matrix.values.byteLength, () => ({
      columns,
      groupSize,
      kind,
      values: words(matrix.values, inputSize),
      scale: words(matrix.scale, groups),
      zeroPoint: words(matrix.zeroPoint!, groups),
    }));
    return {int4};
  }
}

/** One of the calls that take turns. */
interface Variant {
  readonly call: (x: tf.Tensor2D, turn: number) => tf.Tensor;
  readonly times: number[];
}

/** One row for each dtype and sparsity of the setting. */
export async function measureKernel(
  setting: KernelSetting,
  kernels: Kernels,
  meter: BandwidthMeter,
): Promise<KernelRow[]> {
  const {inputSize, rows, sparsities, dtypes, seconds} = setting;
  // Uniform in [-1, 1): the share s of the values is at most s in magnitude.
  const xs = Array.from({length: Math.min(MAX_INPUTS, Math.max(4, kernels.float32.length))}, (_, i) =>
    tf.tensor2d(uniformValues(rows * inputSize, 1000 + i), [rows, inputSize]),
  );
  const all = tf.scalar(-Infinity);
  const thresholds = sparsities.map((sparsity) => (sparsity === 0 ? all : tf.scalar(sparsity)));
  const variant = (call: Variant['call']): Variant => ({call, times: []});
  const ours = (dtype: KernelDtype, threshold: tf.Tensor): Variant => {
    const matrices = kernels[dtype]!;
    return variant((x, turn) => own(x, matrices[turn % matrices.length], threshold));
  };
  const dense = {
    stock: variant((x, turn) => tf.matMul(x, kernels.float32[turn % kernels.float32.length])),
    best: variant((x, turn) => bestDense(x, kernels.float32[turn % kernels.float32.length])),
    float32: ours('float32', all),
    ...(dtypes.includes('int8') ? {int8: ours('int8', all)} : {}),
  };
  const sparse = dtypes.map((dtype) => ({
    dtype,
    variants: thresholds.map((threshold) => {
      const isThere = threshold === all && (dtype === 'float32' || dtype === 'int8');
      return (isThere ? dense[dtype] : undefined) ?? ours(dtype, threshold);
    }),
  }));
  const variants = [...new Set([...Object.values(dense), ...sparse.flatMap(({variants}) => variants)])];
  const before = meter.samples.length;

  let next = 0;
  const call = async (variant: Variant): Promise<number> => {
    next++;
    const x = xs[next % xs.length];
    const start = performance.now();
    const y = variant.call(x, next);
    if (tf.getBackend() !== 'tensorflow') await y.data();
    const took = performance.now() - start;
    y.dispose();
    return took;
  };
  for (const variant of variants) await call(variant);
  const start = performance.now();
  const elapsed = () => (performance.now() - start) / 1000;
  for (let round = 0; (round < MIN_ROUNDS && elapsed() < MAX_SECONDS) || elapsed() < seconds; round++) {
    if (round % 4 === 0) meter.measure();
    for (let turn = 0; turn < variants.length; turn++) {
      const variant = variants[(turn + round) % variants.length];
      variant.times.push(await call(variant));
    }
  }
  tf.dispose([xs, thresholds, all]);
  const bandwidth = median(meter.samples.slice(before));
  return sparse.flatMap(({dtype, variants}) =>
    toRows(
      setting,
      dtype,
      dense,
      variants.map(({times}) => times),
      bandwidth,
    ),
  );
}

/**
 * @param dense Of tf.matMul, of the best dense operation and of our kernels with nothing masked.
 * @param times Of our kernel of this dtype at each sparsity.
 * @param bandwidth Bytes a second; NaN if it was not measured.
 */
function toRows(
  {inputSize, units, rows, sparsities}: KernelSetting,
  dtype: KernelDtype,
  dense: Readonly<Record<'stock' | 'best' | 'float32', Variant> & Partial<Record<'int8', Variant>>>,
  times: readonly number[][],
  bandwidth: number,
): KernelRow[] {
  const owns = times.map(median);
  const best = Math.min(median(dense.stock.times), median(dense.best.times));
  const ownDense = sparsities.includes(0) ? owns[sparsities.indexOf(0)] : null;
  return sparsities.map((sparsity, j) => {
    const sorted = [...times[j]].sort((a, b) => a - b);
    const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))];
    const readBytes = bytesRead(inputSize, units, dtype, sparsity ** rows);
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
      vsStock: median(dense.stock.times) / owns[j],
      vsBestDense: best / owns[j],
      vsOwnDense: ownDense === null ? null : ownDense / owns[j],
      vsOwnFloat32: dtype === 'float32' ? null : median(dense.float32.times) / owns[j],
      vsOwnInt8: dtype === 'int8' || dense.int8 === undefined ? null : median(dense.int8.times) / owns[j],
      minVsStock: Math.min(...dense.stock.times) / sorted[0],
      minVsOwnFloat32: dtype === 'float32' ? null : Math.min(...dense.float32.times) / sorted[0],
      bandwidthShare: Number.isNaN(bandwidth) ? null : readBytes / (owns[j] / 1000) / bandwidth,
    };
  });
}

/**
 * Bytes of the weights that at least one row of x keeps, with the scales and zero points of INT4; those of INT8 are one row.
 *
 * @param dropped Share of the inputs that no row keeps.
 */
function bytesRead(inputSize: number, units: number, dtype: KernelDtype, dropped: number): number {
  const nibbles = (BLOCK_COLUMNS / 2) * Math.ceil(units / BLOCK_COLUMNS);
  const rowBytes = {float32: 4 * units, int8: strideOf(units), int4: nibbles}[dtype];
  const kept = inputSize * rowBytes * (1 - dropped);
  if (dtype !== 'int4') return kept;
  const groups = (inputSize / GROUP_SIZE) * (1 - dropped ** GROUP_SIZE);
  return kept + groups * (2 * units + nibbles);
}

/**
 * About how many seconds a setting takes on 2 cores, or on one with the cpu backend: for an estimate before anything
 * has been measured.
 */
export function expectedSeconds(setting: KernelSetting): number {
  const {inputSize, units, rows, sparsities, dtypes, seconds} = setting;
  const weights = inputSize * units;
  const onCpu = tf.getBackend() === 'cpu';
  const [bytesPerSecond, multiplicationsPerSecond] = onCpu ? [2e9, 2e8] : [2e10, 4e10];
  const call = Math.max((4 * weights) / bytesPerSecond, (rows * weights) / multiplicationsPerSecond);
  const variants = sparsities.length * dtypes.length + 2;
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

function own(x: tf.Tensor2D, kernel: tf.Tensor2D | CompressedMatrix, threshold: tf.Tensor): tf.Tensor {
  const isPacked = 'values' in kernel;
  const name = isPacked ? multiplierOf(kernel) : SPARSIFIED_MATMUL;
  if (tf.getKernel(name, tf.getBackend()) === undefined) {
    return isPacked
      ? compressedMatMulFallback({x, kernel, threshold, activation: 'linear'})
      : sparsifiedMatMulFallback({x, kernel, threshold, activation: 'linear'});
  }
  const inputs = {x, ...(isPacked ? tensorsOf(kernel) : {kernel}), threshold};
  return runKernel(name, inputs, {activation: 'linear', ...(isPacked ? attrsOf(kernel) : {})});
}

/** The op `MatMul` on tensorflow, where tf.matMul runs BatchMatMulV2. */
function bestDense(x: tf.Tensor2D, kernel: tf.Tensor2D): tf.Tensor {
  return tf.getBackend() === 'tensorflow' ? tensorflowMatMul(x, kernel) : tf.matMul(x, kernel);
}
