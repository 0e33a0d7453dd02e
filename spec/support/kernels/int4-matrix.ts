/** @file Seeded INT4 matrices of every kind, as arrays and as tensors, for Node and for pages. */
import * as tf from '@tensorflow/tfjs';
import type {Int4Matrix} from '../../../lib/kernels/int4-kernels.js';
import {float16Bits} from '../../../lib/quantization/float16.js';
import {
  halfWordsOf,
  quantizeInt4,
  type Int4Kind,
  type Int4Shape,
  type Int4Values,
} from '../../../lib/quantization/int4.js';
import {normals} from '../normals.js';

/** A matrix of normal weights, quantized; for `minimum`, with the zero points of `asym` as minimums. */
export function int4Values(shape: Int4Shape, kind: Int4Kind, seed: number, scale = 0.1): Int4Values {
  const weights = normals(shape.rows * shape.columns, seed, scale);
  if (kind !== 'minimum') return quantizeInt4(weights, shape, `int4_${kind}`);
  const matrix = quantizeInt4(weights, shape, 'int4_asym');
  const minimum = new Int32Array(matrix.scale.length);
  const halves = new Uint16Array(minimum.buffer);
  const perGroup = 2 * halfWordsOf(shape.columns);
  normals(halves.length, seed + 1, scale).forEach((value, i) => {
    if (i % perGroup < shape.columns) halves[i] = float16Bits(value);
  });
  return {...matrix, kind, zeroPoint: null, minimum};
}

/** As the layers hold a matrix. In a tidy. */
export function int4Tensors({rows, columns, groupSize, kind, ...words}: Int4Values): Int4Matrix {
  const groups = rows / groupSize;
  const tensor = (part: Int32Array, height: number) =>
    tf.tensor2d(part, [height, part.length / height], 'int32');
  return {
    ...{columns, groupSize, kind},
    values: tensor(words.values, rows),
    scale: tensor(words.scale, groups),
    ...(words.zeroPoint && {zeroPoint: tensor(words.zeroPoint, groups)}),
    ...(words.minimum && {minimum: tensor(words.minimum, groups)}),
  };
}
