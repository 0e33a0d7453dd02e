/**
 * @file The element types of `.npy` files and their conversion to what tensors hold: float32, int32, bool.
 * Integers that an int32 cannot hold are refused, never wrapped.
 */

import {FileError} from '../../errors.js';

/** Numbers in row-major order. */
export interface NumericArray {
  readonly values: Float32Array | Float64Array | Int32Array | Uint8Array;
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'int32' | 'bool';
}

/** What an array of one element type is read as. */
export interface ElementType {
  readonly bytes: 1 | 2 | 4 | 8;
  readonly dtype: NumericArray['dtype'];
  /** Converts little-endian bytes, as many as there are elements times `bytes`. */
  decode(bytes: Uint8Array<ArrayBuffer>): NumericArray['values'];
}

/** By NumPy's code for kind and size. */
export const ELEMENT_TYPES: Readonly<Record<string, ElementType>> = {
  f2: {bytes: 2, dtype: 'float32', decode: ({buffer}) => halvesToFloats(new Uint16Array(buffer))},
  f4: {bytes: 4, dtype: 'float32', decode: ({buffer}) => new Float32Array(buffer)},
  f8: {bytes: 8, dtype: 'float32', decode: ({buffer}) => new Float64Array(buffer)},
  i1: {bytes: 1, dtype: 'int32', decode: ({buffer}) => Int32Array.from(new Int8Array(buffer))},
  u1: {bytes: 1, dtype: 'int32', decode: (bytes) => Int32Array.from(bytes)},
  i2: {bytes: 2, dtype: 'int32', decode: ({buffer}) => Int32Array.from(new Int16Array(buffer))},
  u2: {bytes: 2, dtype: 'int32', decode: ({buffer}) => Int32Array.from(new Uint16Array(buffer))},
  i4: {bytes: 4, dtype: 'int32', decode: ({buffer}) => new Int32Array(buffer)},
  u4: {bytes: 4, dtype: 'int32', decode: ({buffer}) => narrow(new Uint32Array(buffer))},
  i8: {bytes: 8, dtype: 'int32', decode: ({buffer}) => narrow(new BigInt64Array(buffer))},
  u8: {bytes: 8, dtype: 'int32', decode: ({buffer}) => narrow(new BigUint64Array(buffer))},
  b1: {bytes: 1, dtype: 'bool', decode: (bytes) => bytes.map((byte) => (byte === 0 ? 0 : 1))},
};

/** Reverses the bytes of each element in place: big-endian to little-endian or back. */
export function swapBytes(bytes: Uint8Array<ArrayBuffer>, elementBytes: ElementType['bytes']): void {
  if (elementBytes === 1) return;
  for (let start = 0; start < bytes.length; start += elementBytes) {
    bytes.subarray(start, start + elementBytes).reverse();
  }
}

function narrow(values: Uint32Array | BigInt64Array | BigUint64Array): Int32Array {
  const narrowed = new Int32Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const value = Number(values[i]);
    if (value < -(2 ** 31) || value >= 2 ** 31) {
      throw new FileError('out-of-range', `element ${i} is ${values[i]}, which does not fit in an int32`, {
        index: i,
      });
    }
    narrowed[i] = value;
  }
  return narrowed;
}

/** IEEE 754 half precision: 1 sign bit, 5 of exponent, 10 of fraction. */
function halvesToFloats(halves: Uint16Array): Float32Array {
  return Float32Array.from(halves, (half) => {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 0x1f;
    const fraction = half & 0x3ff;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}
