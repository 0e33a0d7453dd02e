/**
 * @file INT4 matrices as tensors, and the names, inputs and attributes of the kernels that read them. A backend that has a kernel of
 * one of these names gets it called; every other one dequantizes (int4-dequantize.ts, compressed-any-backend.ts).
 *
 * What a weight is, `Int4Kind` says (lib/quantization/int4.ts). The rounding to float16 is part of the definition, as for INT8. For more than
 * `MAX_ROUNDED_WEIGHTS` (int8-kernels.ts) weights a kernel may leave it out, which moves each weight by at most 2^-11 of itself.
 */
import type * as tf from '@tensorflow/tfjs';
import type {Int4Kind} from '../quantization/int4.js';
import type {SparsifiedMatMulAttrs, SparsifiedMatMulInputs} from './sparsified-matmul-kernel.js';

/** `SparsifiedMatMul` with an INT4 kernel: inputs {@link SparsifiedMatMulInt4Inputs}, attributes {@link SparsifiedMatMulInt4Attrs}. */
export const SPARSIFIED_MATMUL_INT4 = 'SparsifiedMatMulInt4';

/** An INT4 matrix as float32 [K, N]: inputs {@link Int4Infos}, attributes {@link Int4Attrs}. */
export const DEQUANTIZE_INT4 = 'DequantizeInt4';

/** What a kernel must know of an INT4 matrix beside its tensors. */
export interface Int4Attrs {
  /** N: the tensors' own extents are rounded up. */
  readonly columns: number;
  /** Rows that share a scale; divides K. */
  readonly groupSize: number;
  readonly kind: Int4Kind;
}

/** A matrix [K, N] of G = K / groupSize groups, laid as `Int4Values` (lib/quantization/int4.ts); W is `wordsOf(N)`. */
export interface Int4Matrix extends Int4Attrs {
  /** int32 [K, W]: 8 values of 4 bits to a word. */
  readonly values: tf.Tensor2D;
  /** int32 [G, ceil(N / 2)]: two float16 to a word. */
  readonly scale: tf.Tensor2D;
  /** int32 [G, W], laid like rows of `values`, if the kind is `asym`. */
  readonly zeroPoint?: tf.Tensor2D;
  /** int32 [G, ceil(N / 2)], laid like `scale`, if the kind is `minimum`. */
  readonly minimum?: tf.Tensor2D;
}

/** An INT4 matrix's tensors, as a kernel sees them. */
export interface Int4Infos {
  readonly values: tf.TensorInfo;
  readonly scale: tf.TensorInfo;
  readonly zeroPoint?: tf.TensorInfo;
  readonly minimum?: tf.TensorInfo;
}

/** Inputs of the kernel of that name. */
export interface SparsifiedMatMulInt4Inputs extends Omit<SparsifiedMatMulInputs, 'kernel'>, Int4Infos {}

/** Attributes of the kernel of that name. */
export interface SparsifiedMatMulInt4Attrs extends SparsifiedMatMulAttrs, Int4Attrs {}

/** Whether a kernel is INT4 rather than INT8 or a float32 tensor. */
export function isInt4Matrix(kernel: object): kernel is Int4Matrix {
  return 'groupSize' in kernel;
}
