/** @file How far logits may lie from others of the same model, and how far they lie. */
import type {LlamaConfig} from '../../../lib/language/config/llama-config.js';

/** Of the largest logit: float32 sums in another order, over the depth of a model. */
export const TOLERANCE = 1e-5;

/**
 * Root mean square of the error over that of the logits, for numbers rounded to bfloat16: each by at most 2^-9 of
 * itself. Some ten roundings in a row on the way to a logit add up to 2^-9 * sqrt(10) = 0.6 %; models that are small and
 * random average little, and may amplify it.
 */
export const BFLOAT16_TOLERANCE = 0.03;

/**
 * Root mean square of the error over that of the logits, where INT8 weights are not rounded to float16: each is moved by at
 * most 2^-11 of itself. Some ten in a row add up to 2^-11 * sqrt(10) = 0.15 %, which random models may amplify.
 */
export const FLOAT16_TOLERANCE = 0.005;

/**
 * Root mean square of the error over that of the logits, where inputs of INT4 kernels are rounded to 8 bits: in a group of 32
 * the largest is about 2.4 times their root mean square, and a step is 1/127 of it, which moves each by 2.4 / 127 / sqrt(12)
 * = 0.55 % on average. Some ten in a row add up to 1.7 %, which random models may amplify.
 */
export const INPUTS_TOLERANCE = 0.05;

/** Root mean square of the difference over that of `expected`. */
export function meanError(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  let [difference, size] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    difference += (got[i] - expected[i]) ** 2;
    size += expected[i] ** 2;
  }
  return Math.sqrt(difference / size);
}

/** The median of the tokens' errors: a token that is rounded to another expert is moved by far more. */
export function medianError(got: number[], expected: number[], {vocabularySize}: LlamaConfig): number {
  const errors: number[] = [];
  for (let i = 0; i < got.length; i += vocabularySize) {
    errors.push(meanError(got.slice(i, i + vocabularySize), expected.slice(i, i + vocabularySize)));
  }
  return errors.sort((a, b) => a - b)[errors.length >> 1];
}
