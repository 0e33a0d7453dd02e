/**
 * @file INT8 matrices as tensors, and the names and inputs of the kernels that read them. A backend that has a kernel
 * of one of these names gets it called; every other one dequantizes with stock operations (int8-dequantize.ts,
 * compressed-any-backend.ts).
 *
 * A weight is `float16(scale[c] * (q - zeroPoint[c]))` with c its column (its row in an embedding): float16 rounding,
 * ties to even, of a product that is exact in float32 (11 bits of scale times 9 of difference). That rounding is part
 * of the definition, since reference outputs need it to 1e-5. For more than {@link MAX_ROUNDED_WEIGHTS} a kernel may leave
 * it out, which moves each weight by at most 2^-11 of itself: then its results may differ by that share of sum |x| |w|,
 * and no more.
 */
import type * as tf from '@tensorflow/tfjs';
import type {SparsifiedMatMulInputs} from './sparsified-matmul-kernel.js';

/** Kernels of up to this many weights are always multiplied with weights rounded as defined. */
export const MAX_ROUNDED_WEIGHTS = 2 ** 16;

/** `SparsifiedMatMul` with an INT8 kernel: attributes as there, inputs {@link SparsifiedMatMulInt8Inputs}. */
export const SPARSIFIED_MATMUL_INT8 = 'SparsifiedMatMulInt8';

/** An INT8 matrix with a scale a column as float32 [rows, columns]: inputs {@link Int8Infos}, no attributes. */
export const DEQUANTIZE_INT8 = 'DequantizeInt8';

/** A matrix [R, C] of signed bytes, four to an int32. */
export interface Int8Matrix {
  /**
   * int32 [R, ceil(C / 4)]: in memory the rows' signed bytes in order (little-endian words), each row padded with
   * zeros to a multiple of 4.
   */
  readonly values: tf.Tensor2D;
  /** float32 [C], or [R] for an embedding; float16 numbers, not 0, of either sign. */
  readonly scale: tf.Tensor1D;
  /** float32, as `scale`; integers in [-128, 127]. */
  readonly zeroPoint: tf.Tensor1D;
}

/** An INT8 matrix with a scale a column, as a kernel sees it. */
export interface Int8Infos {
  readonly values: tf.TensorInfo;
  readonly scale: tf.TensorInfo;
  readonly zeroPoint: tf.TensorInfo;
}

/** Inputs of the kernel of that name. */
export interface SparsifiedMatMulInt8Inputs extends Omit<SparsifiedMatMulInputs, 'kernel'>, Int8Infos {}
