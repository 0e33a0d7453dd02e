/**
 * @file `SparsifiedMatMul` with an INT4 kernel in plain TypeScript on typed arrays: weights stay INT4 in memory, and only rows of the
 * kernel that some row of x keeps are read.
 *
 * Two loops, as for INT8. By steps, for a large kernel: values are multiplied by the 4 bits, and scale and offset apply once to each
 * sum of a group, without the weights' rounding. By weights, as defined (rows-by-weights.ts).
 */
import {BLOCK_COLUMNS, Int4Steps, wordsOf, type Int4Values} from '../quantization/int4.js';
import type {FusedActivation} from './activations.js';
import {activateInPlace} from './cpu-backend.js';
import {MAX_ROUNDED_WEIGHTS} from './int8-kernels.js';
import {ROWS_PER_PASS, addByWeights, maskRows} from './rows-by-weights.js';

export interface Int4LoopArgs {
  /** [rows, K]. */
  readonly x: Float32Array;
  /** [K, N]. */
  readonly kernel: Int4Values;
  /** One value, or one per input [K]. */
  readonly threshold: Float32Array;
  /** [N]; empty for none. */
  readonly bias: Float32Array;
  readonly activation: FusedActivation;
}

/** @returns [rows, N]. */
export function sparsifiedMatMulInt4Loops({
  x,
  kernel,
  threshold,
  bias,
  activation,
}: Int4LoopArgs): Float32Array {
  const {rows: inputSize, columns: units} = kernel;
  const rows = x.length / inputSize;
  const output = new Float32Array(rows * units);
  if (bias.length > 0) for (let row = 0; row < rows; row++) output.set(bias, row * units);
  const masked = maskRows(x, threshold, inputSize);
  const steps = new Int4Steps(kernel);
  // Inf times a value less Inf times the zero point would be NaN.
  if (inputSize * units > MAX_ROUNDED_WEIGHTS && masked.every(Number.isFinite)) {
    addBySteps(masked, kernel, steps, output);
  } else {
    const dequantize = steps.dequantizeRow.bind(steps);
    addByWeights(masked, dequantize, output, inputSize, units);
  }
  activateInPlace(output, activation);
  return output;
}

/**
 * output[row, n] += over the groups, scale[n] * (sum over k of x[row, k] * q[k, n] - zeroPoint[n] * sum over k of x[row, k]), or the
 * same with a minimum.
 */
function addBySteps(x: Float32Array, kernel: Int4Values, steps: Int4Steps, output: Float32Array): void {
  const {rows: inputSize, columns: units, groupSize, kind, values} = kernel;
  const sums = new Float64Array(Math.ceil(units / BLOCK_COLUMNS) * BLOCK_COLUMNS);
  const kept = new Int32Array(groupSize + ROWS_PER_PASS);
  for (let first = 0; first < inputSize; first += groupSize) {
    steps.select(first / groupSize);
    const {scale, offset} = steps;
    for (let start = first, out = 0; start < x.length; start += inputSize, out += units) {
      let count = 0;
      let total = 0;
      for (let k = 0; k < groupSize; k++) {
        kept[count] = k;
        count += x[start + k] === 0 ? 0 : 1;
        total += x[start + k];
      }
      if (count === 0) continue;
      sums.fill(0);
      addValues(x, start, kept, count, values, first * wordsOf(units), wordsOf(units), sums);
      if (kind === 'minimum') {
        for (let n = 0; n < units; n++) output[out + n] += scale[n] * sums[n] + offset[n] * total;
      } else {
        for (let n = 0; n < units; n++) output[out + n] += scale[n] * (sums[n] - offset[n] * total);
      }
    }
  }
}

/**
 * sums[n] += sum over the kept k of x[start + k] * q[k, n], in float64.
 *
 * @param first Word at which the group's first row starts.
 */
function addValues(
  x: Float32Array,
  start: number,
  kept: Int32Array,
  count: number,
  words: Int32Array,
  first: number,
  wordsPerRow: number,
  sums: Float64Array,
): void {
  for (let i = 0; i < count; i += ROWS_PER_PASS) {
    // A pass that is not full repeats the group's first row, times 0.
    const [k0, k1, k2, k3] = [0, 1, 2, 3].map((j) => (i + j < count ? kept[i + j] : 0));
    const [v0, v1, v2, v3] = [0, 1, 2, 3].map((j) => (i + j < count ? x[start + kept[i + j]] : 0));
    let o0 = first + k0 * wordsPerRow;
    let o1 = first + k1 * wordsPerRow;
    let o2 = first + k2 * wordsPerRow;
    let o3 = first + k3 * wordsPerRow;
    for (let n = 0; n < sums.length; n += BLOCK_COLUMNS) {
      for (let half = n; half < n + 8; half += 4) {
        const a = words[o0++];
        const b = words[o1++];
        const c = words[o2++];
        const d = words[o3++];
        // Written out, as for INT8: a loop over the shifts takes longer.
        sums[half] += v0 * (a & 15) + v1 * (b & 15) + v2 * (c & 15) + v3 * (d & 15);
        sums[half + 8] +=
          v0 * ((a >> 4) & 15) + v1 * ((b >> 4) & 15) + v2 * ((c >> 4) & 15) + v3 * ((d >> 4) & 15);
        sums[half + 1] +=
          v0 * ((a >> 8) & 15) + v1 * ((b >> 8) & 15) + v2 * ((c >> 8) & 15) + v3 * ((d >> 8) & 15);
        sums[half + 9] +=
          v0 * ((a >> 12) & 15) + v1 * ((b >> 12) & 15) + v2 * ((c >> 12) & 15) + v3 * ((d >> 12) & 15);
        sums[half + 2] +=
          v0 * ((a >> 16) & 15) + v1 * ((b >> 16) & 15) + v2 * ((c >> 16) & 15) + v3 * ((d >> 16) & 15);
        sums[half + 10] +=
          v0 * ((a >> 20) & 15) + v1 * ((b >> 20) & 15) + v2 * ((c >> 20) & 15) + v3 * ((d >> 20) & 15);
        sums[half + 3] +=
          v0 * ((a >> 24) & 15) + v1 * ((b >> 24) & 15) + v2 * ((c >> 24) & 15) + v3 * ((d >> 24) & 15);
        sums[half + 11] += v0 * (a >>> 28) + v1 * (b >>> 28) + v2 * (c >>> 28) + v3 * (d >>> 28);
      }
    }
  }
}
