/**
 * @file The definition of `SparsifiedMatMul` as plain loops in float64: what every kernel is held against.
 * It is not fast and is not registered with any backend.
 */
import {ACTIVATE, type FusedActivation} from './activations.js';

export interface ReferenceArgs {
  /** [rows, K], row-major. */
  readonly x: ArrayLike<number>;
  /** [K, N], row-major. */
  readonly kernel: ArrayLike<number>;
  /** One value, or one per input [K]. */
  readonly threshold: number | ArrayLike<number>;
  /** [N], or none. */
  readonly bias?: ArrayLike<number>;
  readonly activation?: FusedActivation;
  readonly rows: number;
  /** K. */
  readonly inputSize: number;
  /** N. */
  readonly units: number;
}

/**
 * `activation(masked(x) * kernel + bias)`, where an entry of x with `|x| <= threshold` is left out together with
 * its row of the kernel (so an Inf or NaN in that row has no effect). NaN in x is kept.
 *
 * @returns [rows, N], row-major, float64.
 */
export function sparsifiedMatMulReference(args: ReferenceArgs): Float64Array {
  const {x, kernel, threshold, bias, activation = 'linear', rows, inputSize, units} = args;
  const output = new Float64Array(rows * units);
  for (let row = 0; row < rows; row++) {
    for (let n = 0; n < units; n++) {
      let sum = 0;
      for (let k = 0; k < inputSize; k++) {
        const value = x[row * inputSize + k];
        const limit = typeof threshold === 'number' ? threshold : threshold[k];
        if (isMasked(value, limit)) continue;
        sum += value * kernel[k * units + n];
      }
      output[row * units + n] = ACTIVATE[activation](sum + (bias?.[n] ?? 0));
    }
  }
  return output;
}

/** Whether an activation counts as zero: a tie is masked, NaN is not. */
function isMasked(value: number, threshold: number): boolean {
  return Math.abs(value) <= threshold;
}
