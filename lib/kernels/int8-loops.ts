/**
 * @file `SparsifiedMatMul` with an INT8 kernel in plain TypeScript on typed arrays: weights stay INT8 in memory, and only
 * rows of the kernel that some row of x keeps are read.
 *
 * Two loops. By steps, for a large kernel: values are multiplied by bytes, and scale and zero point apply once to each sum,
 * without the weights' rounding. It takes 0.5 to 0.9 of the time of float32 weights, for one row of x and for many. By
 * weights, as defined (rows-by-weights.ts). That takes 2 times as long as float32 weights for one row, 1.2 to 2 for many.
 */
import {
  BYTES_PER_WORD,
  columnSteps,
  dequantizeRow,
  strideOf,
  type ColumnSteps,
} from '../quantization/int8.js';
import type {FusedActivation} from './activations.js';
import {activateInPlace, gatherKept} from './cpu-backend.js';
import {MAX_ROUNDED_WEIGHTS} from './int8-kernels.js';
import {ROWS_PER_PASS, addByWeights, maskRows, type DequantizeRow} from './rows-by-weights.js';

/** An INT8 matrix with a scale a column. */
export interface Int8Arrays {
  /** [rows, stride / 4]: signed bytes, little-endian. */
  readonly words: Int32Array;
  /** [columns]. */
  readonly scale: Float32Array;
  /** [columns]. */
  readonly zeroPoint: Float32Array;
}

export interface Int8LoopArgs {
  /** [rows, K]. */
  readonly x: Float32Array;
  /** [K, N]. */
  readonly kernel: Int8Arrays;
  /** One value, or one per input [K]. */
  readonly threshold: Float32Array;
  /** [N]; empty for none. */
  readonly bias: Float32Array;
  readonly activation: FusedActivation;
  readonly inputSize: number;
}

/** @returns [rows, N]. */
export function sparsifiedMatMulInt8Loops(args: Int8LoopArgs): Float32Array {
  const {x, kernel, threshold, bias, activation, inputSize} = args;
  const units = kernel.scale.length;
  const rows = inputSize === 0 ? 0 : x.length / inputSize;
  const output = new Float32Array(rows * units);
  if (bias.length > 0) for (let row = 0; row < rows; row++) output.set(bias, row * units);
  const masked = maskRows(x, threshold, inputSize);
  const steps = columnSteps(kernel.scale, kernel.zeroPoint);
  // Inf times a byte less Inf times the zero point would be NaN.
  if (inputSize * units > MAX_ROUNDED_WEIGHTS && masked.every(Number.isFinite)) {
    addBySteps(masked, kernel.words, steps, output, inputSize);
  } else {
    const wordsPerRow = strideOf(units) / BYTES_PER_WORD;
    const dequantize: DequantizeRow = (row, weights, offset) => {
      dequantizeRow(kernel.words, row * wordsPerRow, steps, weights, offset);
    };
    addByWeights(masked, dequantize, output, inputSize, units);
  }
  activateInPlace(output, activation);
  return output;
}

const KEEP_NONZERO = Float32Array.of(0);

/** output[row, n] += scale[n] * (sum over k of x[row, k] * byte[k, n] - zeroPoint[n] * sum over k of x[row, k]). */
function addBySteps(
  x: Float32Array,
  words: Int32Array,
  {scale, zeroPoint}: ColumnSteps,
  output: Float32Array,
  inputSize: number,
): void {
  const units = scale.length;
  const kept = new Int32Array(inputSize);
  const sums = new Float64Array(strideOf(units));
  for (let start = 0, first = 0; start < x.length; start += inputSize, first += units) {
    const values = x.subarray(start, start + inputSize);
    sums.fill(0);
    addBytes(values, kept, gatherKept(values, KEEP_NONZERO, kept), words, sums);
    let total = 0;
    for (let k = 0; k < inputSize; k++) total += values[k];
    for (let n = 0; n < units; n++) output[first + n] += scale[n] * (sums[n] - zeroPoint[n] * total);
  }
}

/** sums[n] += sum over the kept k of values[k] * byte[k, n], in float64. */
function addBytes(
  values: Float32Array,
  kept: Int32Array,
  count: number,
  words: Int32Array,
  sums: Float64Array,
): void {
  const wordsPerRow = sums.length / BYTES_PER_WORD;
  let i = 0;
  for (; i + ROWS_PER_PASS <= count; i += ROWS_PER_PASS) {
    const k0 = kept[i];
    const k1 = kept[i + 1];
    const k2 = kept[i + 2];
    const k3 = kept[i + 3];
    const [v0, v1, v2, v3] = [values[k0], values[k1], values[k2], values[k3]];
    const [o0, o1, o2, o3] = [k0 * wordsPerRow, k1 * wordsPerRow, k2 * wordsPerRow, k3 * wordsPerRow];
    // Written out: a loop over the four shifts takes a third more, and so do loads of single bytes.
    for (let word = 0, n = 0; word < wordsPerRow; word++, n += BYTES_PER_WORD) {
      const a = words[o0 + word];
      const b = words[o1 + word];
      const c = words[o2 + word];
      const d = words[o3 + word];
      sums[n] +=
        v0 * ((a << 24) >> 24) + v1 * ((b << 24) >> 24) + v2 * ((c << 24) >> 24) + v3 * ((d << 24) >> 24);
      sums[n + 1] +=
        v0 * ((a << 16) >> 24) + v1 * ((b << 16) >> 24) + v2 * ((c << 16) >> 24) + v3 * ((d << 16) >> 24);
      sums[n + 2] +=
        v0 * ((a << 8) >> 24) + v1 * ((b << 8) >> 24) + v2 * ((c << 8) >> 24) + v3 * ((d << 8) >> 24);
      sums[n + 3] += v0 * (a >> 24) + v1 * (b >> 24) + v2 * (c >> 24) + v3 * (d >> 24);
    }
  }
  for (; i < count; i++) {
    const value = values[kept[i]];
    const offset = kept[i] * wordsPerRow;
    for (let word = 0, n = 0; word < wordsPerRow; word++) {
      for (let shift = 24; shift >= 0; shift -= 8, n++)
        sums[n] += value * ((words[offset + word] << shift) >> 24);
    }
  }
}
