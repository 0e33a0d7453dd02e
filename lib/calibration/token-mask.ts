/**
 * @file Which rows of a layer's input count for its statistics: padding and leading tokens can be left out. They
 * are left out of the statistics only; the model still computes them.
 */
import * as tf from '@tensorflow/tfjs';
import {DatasetError} from '../errors.js';

/** Which positions of a batch of token sequences count: 1 or true counts; shape [batch, tokens]. */
export interface TokenMask {
  readonly shape: readonly number[];
  readonly counts: ArrayLike<number>;
}

export interface TokenMaskOptions {
  /**
   * Gives the mask of an item of the data set: a tensor or nested array [batch, tokens], non-zero where a position
   * counts. A tensor is not disposed.
   */
  readonly tokenMask?: (item: unknown, index: number) => tf.Tensor | number[][] | boolean[][];
  /** Positions at the start of every sequence that do not count. 0 by default. */
  readonly skipLeadingTokens?: number;
}

/** The mask of one item, or undefined where none is given. */
export async function readTokenMask(
  {tokenMask}: TokenMaskOptions,
  item: unknown,
  index: number,
): Promise<TokenMask | undefined> {
  if (tokenMask === undefined) return undefined;
  const given = tokenMask(item, index);
  const tensor = given instanceof tf.Tensor ? given : tf.tensor(given);
  try {
    if (tensor.rank !== 2) {
      throw new DatasetError(
        'wrong-shape',
        `the token mask of item ${index} has shape [${tensor.shape.join(', ')}]; it must be [batch, tokens]`,
        {index, shape: tensor.shape},
      );
    }
    return {shape: tensor.shape, counts: await tensor.data()};
  } finally {
    if (tensor !== given) tensor.dispose();
  }
}

/**
 * The rows of a layer's input that count. A layer input is taken as token rows if its leading dimensions are the
 * mask's [batch, tokens], flattened or not; other inputs (a pooled vector, say) count in full.
 *
 * @param values [..., K], row-major.
 * @returns The same array if every row counts, else a copy of those that do.
 */
export function rowsThatCount(
  values: Float32Array,
  shape: readonly number[],
  mask: TokenMask | undefined,
  skipLeadingTokens = 0,
): Float32Array {
  const inputSize = shape[shape.length - 1];
  const rows = values.length / inputSize;
  const tokens = shape.length > 2 ? shape[shape.length - 2] : mask?.shape[1];
  const masked = mask !== undefined && mask.shape[0] * mask.shape[1] === rows;
  const skips = skipLeadingTokens > 0 && tokens !== undefined && (shape.length > 2 || masked);
  if (!masked && !skips) return values;
  const kept = new Float32Array(values.length);
  let length = 0;
  for (let row = 0; row < rows; row++) {
    if (masked && !mask.counts[row]) continue;
    if (skips && row % tokens < skipLeadingTokens) continue;
    kept.set(values.subarray(row * inputSize, (row + 1) * inputSize), length);
    length += inputSize;
  }
  return kept.subarray(0, length);
}
