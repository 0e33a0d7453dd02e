/**
 * @file Repeatable random numbers: sampling of tokens, splits and training of examples, specs. The generator is mulberry32 (Tommy
 * Ettinger, public domain): 32 bits of state, enough for shuffles and noise, not for cryptography.
 */

/** Draws uniform numbers in [0, 1). */
export type Random = () => number;

/**
 * Makes a generator of uniform numbers.
 *
 * @param seed An integer; equal seeds give equal sequences on every machine.
 * @returns A function that returns the next number in [0, 1).
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * A random order of 0 … count - 1 (Fisher-Yates).
 *
 * @param count How many indices.
 * @param random Where the randomness comes from.
 * @returns int32 [count], each index once.
 */
export function shuffledIndices(count: number, random: Random): Int32Array {
  const order = Int32Array.from({length: count}, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
