/** @file Random values for specs, the same in every run. Loads no backend. */
import {seededRandom} from '../../lib/stats/seeded-random.js';

/** Seeded standard normal numbers (Box-Muller), as float32. */
export function normals(count: number, seed: number, scale = 1): Float32Array {
  const uniform = seededRandom(seed);
  return Float32Array.from(
    {length: count},
    () => scale * Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}
