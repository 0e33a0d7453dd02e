/**
 * @file `SparsifiedMatMul` composed of stock operations, for backends without a kernel of ours: mask, then the
 * backend's dense matMul. The result is that of the definition, except that an Inf or NaN in a masked row of
 * the kernel gives NaN here (0 times Inf) and has no effect where rows are skipped.
 */
import * as tf from '@tensorflow/tfjs';
import {activate, type FusedActivation} from './activations.js';
import {maskActivations} from './mask.js';

export interface FallbackArgs {
  /** float32, [..., K], rank 1 or more. */
  readonly x: tf.Tensor;
  /** float32, [K, N]. */
  readonly kernel: tf.Tensor2D;
  /** float32, a scalar or [K]. */
  readonly threshold: tf.Tensor;
  /** float32, [N]. */
  readonly bias?: tf.Tensor1D;
  readonly activation: FusedActivation;
}

/** @returns float32, [..., N]; the caller disposes it. */
export function sparsifiedMatMulFallback(args: FallbackArgs): tf.Tensor {
  const {x, kernel, threshold, bias, activation} = args;
  return tf.tidy(() => {
    const [inputSize, units] = kernel.shape;
    const masked = tf.reshape<tf.Rank.R2>(maskActivations(x, threshold), [-1, inputSize]); // [rows, K]
    // Stryker disable next-line all: fused by the backend or applied afterwards, the values are the same
    const fused = activation === 'relu' || activation === 'linear' ? activation : undefined;
    const z = tf.fused.matMul({a: masked, b: kernel, bias, activation: fused ?? 'linear'}); // [rows, N]
    const y = fused === undefined ? activate(z, activation) : z;
    return y.reshape([...x.shape.slice(0, -1), units]);
  });
}
