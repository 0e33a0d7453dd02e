/** @file Packed int32 words as float32 numbers by stock operations that are exact in float32, for what computes on a device. */
import * as tf from '@tensorflow/tfjs';
import {BackendError} from '../errors.js';

/**
 * The bytes of little-endian words. In a tidy.
 *
 * @param words int32 [R, W].
 * @returns float32 [R, W, 4]: integers in [0, 255].
 * @throws {BackendError} `int8-on-webgl`.
 */
export function unpackBytes(words: tf.Tensor2D): tf.Tensor3D {
  if (tf.getBackend() === 'webgl') {
    throw new BackendError(
      'int8-on-webgl',
      'the webgl backend stores int32 as float32 and loses bits of packed INT8 and INT4 weights; use webgpu, wasm or cpu, ' +
        'or decompressWeights(model) on one of them first',
    );
  }
  const int = (value: number) => tf.scalar(value, 'int32');
  const quotient = tf.floorDiv(words, int(2 ** 24)); // signed
  const remainder = tf.cast(tf.sub(words, tf.mul(quotient, int(2 ** 24))), 'float32'); // below 2^24: exact
  // The wasm backend divides in float32, which rounds what is just below a multiple of 2^24 up to it.
  const excess = tf.cast(tf.less(remainder, 0), 'float32');
  const signed = tf.sub(tf.cast(quotient, 'float32'), excess);
  const top = tf.add(signed, tf.mul(tf.cast(tf.less(signed, 0), 'float32'), 256));
  const low24 = tf.add(remainder, tf.mul(excess, 2 ** 24)); // in [0, 2^24)
  const third = tf.floor(tf.div(low24, 2 ** 16));
  const low16 = tf.sub(low24, tf.mul(third, 2 ** 16));
  const second = tf.floor(tf.div(low16, 2 ** 8));
  const first = tf.sub(low16, tf.mul(second, 2 ** 8));
  return tf.stack([first, second, third, top], 2) as tf.Tensor3D;
}

/**
 * The values of INT4 rows. In a tidy.
 *
 * @param words int32 [R, 2 B], blocks of 8 bytes without padding between rows.
 * @returns float32 [R, 16 B]: integers in [0, 15].
 */
export function unpackNibbles(words: tf.Tensor2D): tf.Tensor2D {
  const [rows, count] = words.shape;
  const bytes = unpackBytes(words).reshape([rows, count / 2, 1, 8]);
  const upper = tf.floor(tf.div(bytes, 16));
  const lower = tf.sub(bytes, tf.mul(upper, 16));
  return tf.concat([lower, upper], 2).reshape([rows, count * 8]); // [R, B, 2, 8]
}

/**
 * Values of two float16 a word. In a tidy.
 *
 * @param words int32 [G, W].
 * @returns float32 [G, 2 W]; what stands for an infinity or a NaN becomes a number: no weight holds one.
 */
export function unpackFloat16(words: tf.Tensor2D): tf.Tensor2D {
  const [groups, count] = words.shape;
  const bytes = unpackBytes(words).reshape([groups, 2 * count, 2]);
  const [low, high] = tf.unstack(bytes, 2);
  const sign = tf.floor(tf.div(high, 128));
  const magnitude = tf.sub(high, tf.mul(sign, 128));
  const exponent = tf.floor(tf.div(magnitude, 4));
  const fraction = tf.add(tf.mul(tf.sub(magnitude, tf.mul(exponent, 4)), 256), low);
  const isNormal = tf.cast(tf.greater(exponent, 0), 'float32');
  // A power by a table, since a device's own is not exact.
  const quantum = tf.gather(tf.tensor1d(FLOAT16_QUANTA), tf.cast(exponent, 'int32'));
  const number = tf.mul(tf.add(fraction, tf.mul(isNormal, 1024)), quantum);
  return tf.mul<tf.Tensor2D>(number, tf.sub(1, tf.mul(sign, 2)));
}

/** What the last bit of a float16 stands for, by its exponent's bits. */
const FLOAT16_QUANTA = Array.from({length: 32}, (_, exponent) => 2 ** (Math.max(exponent, 1) - 25));

/** As FLOAT16_SPLITTER in float32: keeps the upper 24 - 13 = 11 bits. */
const SPLITTER = 2 ** 13 + 1;

/** Float32 products of a float16 and at most 9 bits, rounded to float16; subnormal ones need no rounding. In a tidy. */
export function roundProductToFloat16<T extends tf.Tensor>(product: T): T {
  const c = tf.mul(product, SPLITTER);
  return tf.sub(c, tf.sub(c, product));
}
