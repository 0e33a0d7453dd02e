/**
 * @file float16 (IEEE 754 binary16) without a float16 type, which Node 20 lacks: rounding, ties to even, and the 16 bits of
 * a number.
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

/** A number's bits as float32, by which those of float16 are made. */
const FLOAT32 = new Float32Array(1);
const FLOAT32_BITS = new Int32Array(FLOAT32.buffer);

/** float32's exponents are 127 more than they stand for, float16's 15; in the place where float16 has its exponent. */
const EXPONENT_DIFFERENCE = (127 - 15) << 10;

/**
 * The bits of the float16 nearest to a number, ties to even.
 *
 * @returns In [0, 65535]; NaN is 0x7e00, without its payload.
 */
export function float16Bits(value: number): number {
  const rounded = roundToFloat16(value);
  const magnitude = Math.abs(rounded);
  if (Number.isNaN(magnitude)) return 0x7e00;
  const sign = rounded < 0 || Object.is(rounded, -0) ? 0x8000 : 0;
  if (magnitude === Infinity) return sign | 0x7c00;
  if (magnitude < FLOAT16_MIN_NORMAL) return sign | (magnitude * 2 ** 24);
  FLOAT32[0] = magnitude;
  return sign | ((FLOAT32_BITS[0] >> 13) - EXPONENT_DIFFERENCE);
}

/** The number that the bits of a float16 stand for; a NaN keeps no payload. */
export function float16FromBits(half: number): number {
  FLOAT32_BITS[0] = float16ToFloat32Bits(half);
  return FLOAT32[0];
}

/**
 * The bits of one binary16 value as float32, subnormals, infinities and NaNs with their payload included.
 *
 * @param half Its 16 bits.
 * @returns The 32 bits of the same value.
 */
export function float16ToFloat32Bits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 31) return (sign | 0x7f800000 | (fraction << 13)) >>> 0;
  if (exponent !== 0) return (sign | ((exponent + 112) << 23) | (fraction << 13)) >>> 0;
  if (fraction === 0) return sign >>> 0;
  // Subnormal: shift the leading one to where float32 implies it.
  const shift = Math.clz32(fraction) - 21;
  return (sign | ((113 - shift) << 23) | ((fraction << (13 + shift)) & 0x7fffff)) >>> 0;
}
