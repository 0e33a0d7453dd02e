/** @file The two 16-bit floating-point formats of weights, widened to float32 without rounding. */
import {float16ToFloat32Bits} from '../../quantization/float16.js';

/** The 65,536 values of IEEE 754 binary16 as float32: 256 KiB, made at first use. */
let table: Float32Array | undefined;

/** All values of IEEE 754 binary16, by their bits. */
function float16Values(): Float32Array {
  if (table === undefined) {
    table = new Float32Array(65536);
    const bits = new Uint32Array(table.buffer); // as integers, so that NaNs keep their payload
    for (let half = 0; half < bits.length; half++) bits[half] = float16ToFloat32Bits(half);
  }
  return table;
}

/** The IEEE 754 binary16 value at a place among little-endian bytes. */
export function float16At(bytes: Uint8Array, offset: number): number {
  return (table ?? float16Values())[bytes[offset] | (bytes[offset + 1] << 8)];
}

/**
 * Widens IEEE 754 binary16 values.
 *
 * @param source Their bits.
 * @param target As many float32 values.
 */
export function widenFloat16(source: Uint16Array, target: Float32Array): void {
  const widened = new Uint32Array(float16Values().buffer);
  const bits = new Uint32Array(target.buffer, target.byteOffset, target.length);
  for (let i = 0; i < source.length; i++) bits[i] = widened[source[i]];
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
