/**
 * @file How a range of weights becomes a scale and a zero point, and a number an integer: what all integer formats share of NNCF's
 * arithmetic. Each result is rounded to float32.
 */

/** float32's epsilon: the least magnitude of a scale. */
const MIN_SCALE = 2 ** -23;

/** Adding and subtracting it rounds a float64 below 2^51 to an integer, ties to even. */
const INTEGER_SHIFT = 1.5 * 2 ** 52;

/** The nearest integer of a number below 2^51 in magnitude, ties to even. */
export function roundToEven(value: number): number {
  return value + INTEGER_SHIFT - INTEGER_SHIFT;
}

export function clamp(value: number, low: number, high: number): number {
  return value < low ? low : value > high ? high : value;
}

/**
 * The scale of integers in [-half, half - 1]: the side of the range that reaches further takes -half, so that the scale is negative
 * where that is the upper one.
 */
export function symmetricScale(least: number, greatest: number, half: number): number {
  const scale = Math.fround((Math.abs(least) >= greatest ? Math.abs(least) : -greatest) / half);
  return Math.abs(scale) < MIN_SCALE ? MIN_SCALE : scale;
}

/** The scale of integers in [0, most] over a range that is widened to hold 0. */
export function asymmetricScale(least: number, greatest: number, most: number): number {
  const width = Math.fround(Math.max(greatest, 0) - Math.min(least, 0));
  return Math.fround(Math.max(width / most, MIN_SCALE));
}

/** The integer in [0, most] that stands for 0 then. */
export function zeroPointOf(least: number, scale: number, most: number): number {
  return clamp(-roundToEven(Math.fround(Math.min(least, 0) / scale)), 0, most);
}
