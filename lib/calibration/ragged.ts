/** @file Nested arrays that are none of one shape: `tf.tensor` takes them, and reads beyond what is there. */

/** Whether nested arrays are none of one shape. */
export function isRagged(value: unknown): boolean {
  if (!Array.isArray(value)) return false;
  const lengths = new Set(value.map((entry: unknown) => (isArrayLike(entry) ? entry.length : -1)));
  return lengths.size > 1 || (!lengths.has(-1) && value.some(isRagged));
}

function isArrayLike(value: unknown): value is ArrayLike<unknown> {
  return Array.isArray(value) || ArrayBuffer.isView(value);
}
