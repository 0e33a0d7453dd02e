/**
 * @file Rounding to float16 (IEEE 754 binary16, ties to even) without a float16 type, which Node 20 lacks.
 */

/** Largest finite float16. */
export const FLOAT16_MAX = 65504;

/** Below this magnitude float16 is subnormal: a fixed quantum instead of 11 significant bits. */
const FLOAT16_MIN_NORMAL = 2 ** -14;

/**
 * Veltkamp's splitter: `c = v * SPLITTER; c - (c - v)` keeps the upper 53 - 42 = 11 bits of a float64, rounded to
 * nearest; ties, which are 12-bit numbers here, go to even.
 */
export const FLOAT16_SPLITTER = 2 ** 42 + 1;

/** Adding and subtracting it leaves a multiple of 2^-24, the quantum of float16's subnormals. */
const SUBNORMAL_SHIFT = 1.5 * 2 ** (52 - 24);

/** From here on, rounding gives infinity. */
const OVERFLOW = 65520;

/** The float16 nearest to a number, as a number; keeps NaN, infinities and -0. */
export function roundToFloat16(value: number): number {
  const magnitude = Math.abs(value);
  if (!(magnitude < OVERFLOW)) return magnitude >= OVERFLOW ? Math.sign(value) * Infinity : value;
  if (magnitude >= FLOAT16_MIN_NORMAL) {
    const c = value * FLOAT16_SPLITTER;
    return c - (c - value);
  }
  const rounded = magnitude + SUBNORMAL_SHIFT - SUBNORMAL_SHIFT;
  return value < 0 || Object.is(value, -0) ? -rounded : rounded;
}
