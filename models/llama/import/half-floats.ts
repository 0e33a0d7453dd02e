/** @file The two 16-bit floating-point formats of weights, widened to float32 without rounding. */

/** Bits of float32 for each of the 65,536 values of IEEE 754 binary16: 256 KiB, made at first use. */
let float16Bits: Uint32Array | undefined;

/**
 * Widens IEEE 754 binary16 values.
 *
 * @param source Their bits.
 * @param target As many float32 values.
 */
export function widenFloat16(source: Uint16Array, target: Float32Array): void {
  const table = (float16Bits ??= Uint32Array.from({length: 65536}, (_, bits) => float16ToFloat32Bits(bits)));
  const bits = new Uint32Array(target.buffer, target.byteOffset, target.length);
  for (let i = 0; i < source.length; i++) bits[i] = table[source[i]];
}

/**
 * Widens bfloat16 values, which are the upper halves of float32.
 *
 * @param source Their bits.
 * @param target As many float32 values.
 */
export function widenBfloat16(source: Uint16Array, target: Float32Array): void {
  const bits = new Uint32Array(target.buffer, target.byteOffset, target.length);
  for (let i = 0; i < source.length; i++) bits[i] = source[i] << 16;
}

/** One IEEE 754 binary16 value as a number. */
export function float16Value(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** NaNs keep their payload, so that bits in are bits out. */
function float16ToFloat32Bits(half: number): number {
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
