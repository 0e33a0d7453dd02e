/**
 * @file Rounding a kernel to INT4 so that the errors of its inputs cancel on data: GPTQ (Frantar et al. 2023), input after input, each
 * group's scale and zero point searched for the targets that the errors before it leave.
 */
import * as tf from '@tensorflow/tfjs';
import {Int4Search} from '../quantization/int4-search.js';
import type {Int4Mode, Int4Shape, Int4Values} from '../quantization/int4.js';
import type {InputFactor} from './input-moments.js';

/**
 * Quantizes a kernel.
 *
 * @param weights float32 [rows, columns], row-major, finite.
 * @param shape Its groups divide the rows.
 * @param factor Of the kernel's inputs.
 */
export async function quantizeByFactor(
  weights: Float32Array,
  shape: Int4Shape,
  mode: Int4Mode,
  {importance, feedback}: InputFactor,
): Promise<Int4Values> {
  const {rows, columns, groupSize} = shape;
  const search = new Int4Search(shape, mode);
  const errors = new Float32Array(rows * columns);
  const upper = tf.tensor2d(feedback, [rows, rows]);
  try {
    for (let start = 0; start < rows; start += groupSize) {
      const targets = weights.slice(start * columns, (start + groupSize) * columns);
      if (start > 0) await addFeedback(targets, upper, errors, start, shape);
      search.startGroup(start / groupSize, targets, importance.subarray(start, start + groupSize));
      for (let k = 0; k < groupSize; k++) {
        const row = start + k;
        search.quantizeRow(row, targets, k * columns);
        for (let n = 0; n < columns; n++) {
          errors[row * columns + n] = weights[row * columns + n] - targets[k * columns + n];
        }
        for (let later = k + 1; later < groupSize; later++) {
          const share = feedback[row * rows + start + later];
          if (share === 0) continue;
          for (let n = 0; n < columns; n++) targets[later * columns + n] += share * errors[row * columns + n];
        }
      }
    }
  } finally {
    upper.dispose();
  }
  return search.result();
}

/** Adds to the targets of a group what the errors of all rows before it ask for. */
async function addFeedback(
  targets: Float32Array,
  upper: tf.Tensor2D,
  errors: Float32Array,
  start: number,
  {columns, groupSize}: Int4Shape,
): Promise<void> {
  const added = tf.tidy(() => {
    const shares = tf.slice(upper, [0, start], [start, groupSize]);
    const before = tf.tensor2d(errors.slice(0, start * columns), [start, columns]);
    return tf.matMul(shares, before, true); // [groupSize, columns]
  });
  const values = await added.data();
  added.dispose();
  for (let i = 0; i < targets.length; i++) targets[i] += values[i];
}
