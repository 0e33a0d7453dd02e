/**
 * @file INT8 matrices as float32 tensors: by the backend's own kernel, in plain TypeScript where the backend is in the
 * host's memory, else composed of stock operations that are exact in float32, so that the result is the same everywhere.
 */
import * as tf from '@tensorflow/tfjs';
import {BYTES_PER_WORD, columnSteps, dequantizeRows as dequantizeArrays} from '../quantization/int8.js';
import {runKernel} from '../tfjs.js';
import {DEQUANTIZE_INT8, type Int8Matrix} from './int8-kernels.js';
import {isOnHost, readInt8Matrix} from './host-memory.js';
import {roundProductToFloat16, unpackBytes} from './unpack-words.js';

/**
 * The weights of a matrix with a scale a column.
 *
 * @returns float32 [R, C]; the caller disposes it.
 */
export function dequantizeColumns(matrix: Int8Matrix): tf.Tensor2D {
  const {values, scale, zeroPoint} = matrix;
  // Stryker disable next-line all: the kernel and the stock operations give the same values
  if (tf.getKernel(DEQUANTIZE_INT8, tf.getBackend()) !== undefined) {
    return runKernel(DEQUANTIZE_INT8, {values, scale, zeroPoint}, {}) as tf.Tensor2D;
  }
  // Stryker disable next-line all: the loops and the stock operations give the same values
  if (isOnHost()) {
    const [rows] = values.shape;
    const {words, ...channels} = readInt8Matrix(matrix);
    const weights = dequantizeArrays(words, rows, columnSteps(channels.scale, channels.zeroPoint));
    return tf.tensor2d(weights, [rows, scale.size]);
  }
  return dequantizeByOperations(matrix);
}

/** As {@link dequantizeColumns}, by stock operations: for what computes on a device. */
export function dequantizeByOperations({values, scale, zeroPoint}: Int8Matrix): tf.Tensor2D {
  return tf.tidy(() => {
    const steps = tf.sub(unpack(values, scale.size), zeroPoint); // [R, C] - [C]
    return roundProductToFloat16<tf.Tensor2D>(tf.mul(steps, scale));
  });
}

/**
 * The weights of some rows of a matrix with a scale a row.
 *
 * @param rows int32 [n].
 * @param columns C.
 * @returns float32 [n, C]; the caller disposes it.
 */
export function dequantizeRows(
  {values, scale, zeroPoint}: Int8Matrix,
  rows: tf.Tensor1D,
  columns: number,
): tf.Tensor2D {
  return tf.tidy(() => {
    const q = unpack(tf.gather(values, rows), columns); // [n, C]
    const steps = tf.sub(q, tf.gather(zeroPoint, rows).expandDims(1)); // [n, C] - [n, 1]
    return roundProductToFloat16<tf.Tensor2D>(tf.mul(steps, tf.gather(scale, rows).expandDims(1)));
  });
}

/**
 * Some columns of a matrix with a scale a column, as rows: what a tied embedding looks up in the head's kernel.
 *
 * @param columns int32 [n].
 * @returns float32 [n, R]; the caller disposes it.
 */
export function dequantizeSomeColumns(
  {values, scale, zeroPoint}: Int8Matrix,
  columns: tf.Tensor1D,
): tf.Tensor2D {
  return tf.tidy(() => {
    const [rows] = values.shape;
    const count = columns.size;
    const words = tf.floorDiv<tf.Tensor1D>(columns, tf.scalar(BYTES_PER_WORD, 'int32'));
    const byte = tf.sub(columns, tf.mul(words, tf.scalar(BYTES_PER_WORD, 'int32')));
    const bytes = unpack(tf.gather(values, words, 1), count * BYTES_PER_WORD); // [R, n * 4]
    const first = tf.mul(tf.range(0, count, 1, 'int32'), tf.scalar(BYTES_PER_WORD, 'int32'));
    const q = tf.gather(bytes, tf.add<tf.Tensor1D>(first, byte), 1).reshape([rows, count]);
    const steps = tf.sub(q, tf.gather(zeroPoint, columns)); // [R, n] - [n]
    return tf.transpose(roundProductToFloat16<tf.Tensor2D>(tf.mul(steps, tf.gather(scale, columns))));
  });
}

/** int32 [R, ceil(C / 4)] to its signed bytes, float32 [R, C]. In a tidy. */
function unpack(values: tf.Tensor2D, columns: number): tf.Tensor2D {
  const [rows, words] = values.shape;
  const all = tf.reshape<tf.Rank.R2>(unpackBytes(values), [rows, words * BYTES_PER_WORD]);
  const unsigned = columns === words * BYTES_PER_WORD ? all : tf.slice(all, [0, 0], [rows, columns]);
  return tf.sub(unsigned, tf.mul(tf.cast(tf.greaterEqual(unsigned, 128), 'float32'), 256));
}
