/** @file Masking of activations by magnitude as stock operations: right on every backend, fast on none. */
import * as tf from '@tensorflow/tfjs';

/**
 * `x` with every entry of `|x| <= threshold` set to +0. NaN is kept. Has no gradient of its own.
 *
 * @param x float32, [..., K].
 * @param threshold float32, a scalar or [K].
 * @returns A new tensor of x's shape; the caller disposes it.
 */
export function maskActivations<T extends tf.Tensor>(x: T, threshold: tf.Tensor): T {
  return tf.tidy(() => tf.where(tf.lessEqual(tf.abs(x), threshold), tf.zerosLike(x), x));
}
