/**
 * @file Which rows of a layer's input count for its statistics: padding and leading tokens can be left out. They
 * are left out of the statistics only; the model still computes them.
 */
import * as tf from '@tensorflow/tfjs';
import {DatasetError} from '../errors.js';
import {isRagged} from './ragged.js';

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
  if (isRagged(given)) {
    throw new DatasetError(
      'wrong-shape',
      `the rows of the token mask of item ${index} differ in length; it must be [batch, tokens]: write 0 for padding`,
      {index},
    );
  }
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

/** How the rows of a layer's input lie: row-major over [batch, between, tokens, inner]. */
interface RowLayout {
  readonly between: number;
  readonly tokens: number;
  readonly inner: number;
}

/**
 * The rows of a layer's input that count. With a mask, an input is taken as token rows if its leading dimensions are the
 * mask's [batch, tokens], flattened or not, or its first is the batch and a later one the tokens (heads before tokens);
 * each token then counts with all its rows, of which an input of rank 4 has several. Other inputs (a pooled vector, say)
 * count in full. Without a mask the second of three or more dimensions is the tokens.
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
  const layout = mask === undefined ? layoutOf(shape) : maskedLayout(shape, mask);
  if (layout === null || (mask === undefined && skipLeadingTokens === 0)) return values;
  const {between, tokens, inner} = layout;
  const inputSize = shape[shape.length - 1];
  const rows = values.length / inputSize;
  const kept = new Float32Array(values.length);
  let length = 0;
  for (let row = 0; row < rows; row++) {
    const token = Math.floor(row / inner) % tokens;
    const item = Math.floor(row / (inner * tokens * between));
    if (token < skipLeadingTokens || (mask !== undefined && !mask.counts[item * tokens + token])) continue;
    kept.set(values.subarray(row * inputSize, (row + 1) * inputSize), length);
    length += inputSize;
  }
  return kept.subarray(0, length);
}

function layoutOf(shape: readonly number[]): RowLayout | null {
  if (shape.length < 3) return null;
  return {between: 1, tokens: shape[1], inner: product(shape.slice(2, -1))};
}

/** Null if the input is none of the mask's tokens. */
function maskedLayout(shape: readonly number[], {shape: [batch, tokens]}: TokenMask): RowLayout | null {
  const leading = shape.slice(0, -1);
  for (let axes = 1; axes <= leading.length; axes++) {
    if (product(leading.slice(0, axes)) === batch * tokens) {
      return {between: 1, tokens, inner: product(leading.slice(axes))};
    }
  }
  const axis = leading.indexOf(tokens, 1);
  if (axis === -1 || leading[0] !== batch) return null;
  return {between: product(leading.slice(1, axis)), tokens, inner: product(leading.slice(axis + 1))};
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((size, n) => size * n, 1);
}
