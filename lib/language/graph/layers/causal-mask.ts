/** @file Which keys a query sees: those up to its own position, and with a sliding window only the latest of them. */

/** Added to the score of a key that is not seen. Finite, since some softmax kernels make NaN of infinities. */
const UNSEEN = -1e30;

/**
 * What is added to attention scores.
 *
 * @param rows Queries, at the positions `start`, `start + 1`, …
 * @param keys Keys, at the positions `firstKey`, `firstKey + 1`, …
 * @param window How many keys a query sees at most, its own included, or null.
 * @returns float32 [rows, keys]: 0 where the key is seen.
 */
export function causalMask(
  rows: number,
  keys: number,
  start: number,
  firstKey: number,
  window: number | null,
): Float32Array {
  const mask = new Float32Array(rows * keys);
  for (let row = 0; row < rows; row++) {
    const own = start + row - firstKey;
    const values = mask.subarray(row * keys, (row + 1) * keys);
    values.fill(UNSEEN, Math.min(own + 1, keys));
    if (window !== null) values.fill(UNSEEN, 0, Math.max(0, Math.min(own - window + 1, keys)));
  }
  return mask;
}
