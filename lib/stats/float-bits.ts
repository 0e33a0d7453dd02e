/**
 * @file float32 values as their bit patterns (IEEE 754). The bits of non-negative floats, read as integers,
 * order as the floats do; so statistics of |x| can count, select and compare integers.
 */

/** Clears the sign: the bits of |x|. */
export const ABS_MASK = 0x7fffffff;
/** Bits of +Infinity; larger ones (without sign) are NaN. */
export const INFINITY_BITS = 0x7f800000;

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The bits of `value`, rounded to float32. */
export function bitsOfFloat(value: number): number {
  float[0] = value;
  return bits[0];
}

/** The float32 with these bits. */
export function floatOfBits(pattern: number): number {
  bits[0] = pattern;
  return float[0];
}

/** The values as float32, read as int32: the same memory where they are a Float32Array, else that of a copy. */
export function viewBits(values: Float32Array): Int32Array {
  // JavaScript's callers, and tensors that were cast, come with other arrays too: their bits are no floats.
  const {buffer, byteOffset, length} = values instanceof Float32Array ? values : Float32Array.from(values);
  return new Int32Array(buffer, byteOffset, length);
}

/**
 * How many values a hot loop takes a call. V8 compiles a function that is called often as a whole; a loop over a
 * million values it replaces while it runs, and falls back to the interpreter at the loop's end, again and again
 * (measured with Node 20: 44 ns a value instead of 2).
 */
const CHUNK = 8192;

/** Calls `visit` on consecutive ranges [start, end) that cover [0, length). */
export function inChunks(length: number, visit: (start: number, end: number) => void): void {
  for (let start = 0; start < length; start += CHUNK) {
    visit(start, Math.min(start + CHUNK, length));
  }
}
