/** @file Name, inputs and attributes of the kernel that every backend's implementation registers. */
import type * as tf from '@tensorflow/tfjs';
import type {FusedActivation} from './activations.js';

export const SPARSIFIED_MATMUL = 'SparsifiedMatMul';

/** Inputs of the kernel of that name; `bias` is absent or of shape [0] where there is none. */
export interface SparsifiedMatMulInputs {
  readonly x: tf.TensorInfo;
  readonly kernel: tf.TensorInfo;
  readonly threshold: tf.TensorInfo;
  readonly bias?: tf.TensorInfo;
}

/** Attributes of the kernel of that name. */
export interface SparsifiedMatMulAttrs {
  readonly activation: FusedActivation;
}

/** The product of all dimensions but the last: the rows of a tensor seen as a matrix. */
export function leadingSize(shape: readonly number[]): number {
  return shape.slice(0, -1).reduce((size, dim) => size * dim, 1);
}
