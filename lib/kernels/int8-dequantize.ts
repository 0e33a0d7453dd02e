/**
 * @file INT8 matrices as float32 tensors: by the backend's own kernel, in plain TypeScript where the backend is in the
 * host's memory, else composed of stock operations that are exact in float32, so that the result is the same everywhere.
 */
import * as tf from '@tensorflow/tfjs';
import {BackendError} from '../errors.js';
import {BYTES_PER_WORD, columnSteps, dequantizeRows as dequantizeArrays} from '../quantization/int8.js';
import {runKernel} from '../tfjs.js';
import {DEQUANTIZE_INT8, type Int8Matrix} from './int8-kernels.js';
import {isOnHost, readInt8Matrix} from './int8-host-memory.js';

/** As FLOAT16_SPLITTER in float32: keeps the upper 24 - 13 = 11 bits. */
const SPLITTER = 2 ** 13 + 1;

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
    return roundToFloat16(tf.mul(steps, scale));
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
    return roundToFloat16(tf.mul(steps, tf.gather(scale, rows).expandDims(1)));
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
    return tf.transpose(roundToFloat16(tf.mul(steps, tf.gather(scale, columns))));
  });
}

/** int32 [R, ceil(C / 4)] to its signed bytes, float32 [R, C]. In a tidy. */
function unpack(values: tf.Tensor2D, columns: number): tf.Tensor2D {
  if (tf.getBackend() === 'webgl') {
    throw new BackendError(
      'int8-on-webgl',
      'the webgl backend stores int32 as float32 and loses bits of packed INT8 weights; use webgpu, wasm or cpu, or ' +
        'decompressWeights(model) on one of them first',
    );
  }
  const [rows, words] = values.shape;
  const int = (value: number) => tf.scalar(value, 'int32');
  const quotient = tf.floorDiv(values, int(2 ** 24)); // signed
  const remainder = tf.cast(tf.sub(values, tf.mul(quotient, int(2 ** 24))), 'float32'); // below 2^24: exact
  // The wasm backend divides in float32, which rounds what is just below a multiple of 2^24 up to it.
  const excess = tf.cast(tf.less(remainder, 0), 'float32');
  const top = tf.sub(tf.cast(quotient, 'float32'), excess);
  const low24 = tf.add(remainder, tf.mul(excess, 2 ** 24)); // in [0, 2^24)
  const third = tf.floor(tf.div(low24, 2 ** 16));
  const low16 = tf.sub(low24, tf.mul(third, 2 ** 16));
  const second = tf.floor(tf.div(low16, 2 ** 8));
  const first = tf.sub(low16, tf.mul(second, 2 ** 8));
  const bytes = tf.stack([first, second, third, top], 2); // [R, C / 4, 4]
  const all = tf.reshape<tf.Rank.R2>(bytes, [rows, words * BYTES_PER_WORD]);
  const unsigned = columns === words * BYTES_PER_WORD ? all : tf.slice(all, [0, 0], [rows, columns]);
  return tf.sub(unsigned, tf.mul(tf.cast(tf.greaterEqual(unsigned, 128), 'float32'), 256));
}

/** Float32 products of a float16 and at most 9 bits, rounded to float16; subnormal ones need no rounding. In a tidy. */
function roundToFloat16(product: tf.Tensor): tf.Tensor2D {
  const c = tf.mul(product, SPLITTER);
  return tf.sub(c, tf.sub(c, product));
}
