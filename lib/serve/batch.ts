/** @file Requests joined to one batch, and its outputs taken apart again. */
import {ServeError} from './http-errors.js';
import {emptyValues, type WireTensor} from './tensors.js';

/**
 * Joins inputs along their first dimension.
 *
 * @param requests The inputs of each request, all of one dtype and shape but for the rows.
 */
export function joinRows(requests: readonly (readonly WireTensor[])[]): readonly WireTensor[] {
  if (requests.length === 1) return requests[0];
  return requests[0].map(({dtype, shape}, i) => {
    const parts = requests.map((inputs) => inputs[i]);
    const values = emptyValues(
      dtype,
      parts.reduce((sum, part) => sum + part.values.length, 0),
    );
    let place = 0;
    for (const part of parts) {
      values.set(part.values, place);
      place += part.values.length;
    }
    const rows = parts.reduce((sum, part) => sum + part.shape[0], 0);
    return {dtype, shape: [rows, ...shape.slice(1)], values};
  });
}

/**
 * Takes outputs apart.
 *
 * @param counts Rows of each request.
 * @returns The outputs of each request; views of the batch's.
 * @throws {ServeError} 500 if an output does not have a row for each of the inputs.
 */
export function splitRows(
  outputs: readonly WireTensor[],
  counts: readonly number[],
): readonly (readonly WireTensor[])[] {
  if (counts.length === 1) return [outputs];
  const total = counts.reduce((sum, rows) => sum + rows, 0);
  const odd = outputs.find(({shape}) => shape[0] !== total);
  if (odd !== undefined) {
    throw new ServeError(
      500,
      'not-by-row',
      `the model gave shape [${odd.shape.join(', ')}] for ${total} rows`,
    );
  }
  let start = 0;
  return counts.map((rows) => {
    const parts = outputs.map(({dtype, shape, values}): WireTensor => {
      const size = values.length / total;
      return {
        dtype,
        shape: [rows, ...shape.slice(1)],
        values: values.subarray(start * size, (start + rows) * size),
      };
    });
    start += rows;
    return parts;
  });
}
