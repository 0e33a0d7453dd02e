/** @file Nested arrays of numbers, as JSON and JavaScript have them, with their shape checked. */

import {FileError} from '../../errors.js';

/** Tensors have at most 6 dimensions, one of them the batch. */
const MAX_RANK = 6;

/** Numbers in row-major order. */
export interface FlatNumbers {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/**
 * Flattens nested arrays of numbers.
 *
 * @param json An array of numbers or of equally long arrays, or a number, whose shape is [].
 * @param where What it is, for errors.
 * @throws FileError `ragged-item` or `malformed-item`.
 */
export function flattenNumbers(json: unknown, where: string): FlatNumbers {
  const shape: number[] = [];
  for (let inner: unknown = json; Array.isArray(inner); inner = inner[0]) shape.push(inner.length);
  if (shape.length > MAX_RANK || shape.includes(0)) {
    throw new FileError(
      'malformed-item',
      `${where} has shape [${shape.join(', ')}]; none of 1 to ${MAX_RANK} dimensions may be 0`,
      {
        where,
        shape,
      },
    );
  }
  const values: number[] = [];
  collect(json, shape, 0, values, where);
  return {shape, values};
}

function collect(
  json: unknown,
  shape: readonly number[],
  depth: number,
  values: number[],
  where: string,
): void {
  if (depth === shape.length) {
    if (typeof json !== 'number') {
      throw new FileError(
        Array.isArray(json) ? 'ragged-item' : 'malformed-item',
        `${where} has ${JSON.stringify(json)?.slice(0, 40)} where a number must be (value ${values.length})`,
        {where, index: values.length},
      );
    }
    values.push(json);
    return;
  }
  if (!Array.isArray(json) || json.length !== shape[depth]) {
    throw new FileError(
      'ragged-item',
      `${where} has rows of different lengths: ${Array.isArray(json) ? json.length : 'a number'} beside ${shape[depth]} ` +
        `in dimension ${depth}; pad them to one length`,
      {where, dimension: depth},
    );
  }
  for (const child of json as unknown[]) collect(child, shape, depth + 1, values, where);
}
