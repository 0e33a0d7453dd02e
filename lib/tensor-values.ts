/**
 * @file Values of tensors in the array of their dtype. On the cpu backend a cast that loses nothing passes the memory
 * on: a tensor of dtype float32 may lie in the Int32Array or Uint8Array of the integers or booleans that it was cast from,
 * and an int32 tensor in a Uint8Array. Numbers read one by one are right in each; bytes and bits are those of the array.
 */
import type * as tf from '@tensorflow/tfjs';

/** What holds the values of a dtype. */
const ARRAYS = {float32: Float32Array, int32: Int32Array, bool: Uint8Array} as const;

type Arrays = {readonly [D in keyof typeof ARRAYS]: InstanceType<(typeof ARRAYS)[D]>};

/**
 * The values in the array of a dtype.
 *
 * @param values As `data` and `dataSync` give them.
 * @returns The same array if it is of the dtype, else a copy.
 */
export function valuesAs<D extends tf.DataType>(
  dtype: D,
  values: tf.TypedArray,
): D extends keyof Arrays ? Arrays[D] : tf.TypedArray {
  type Result = D extends keyof Arrays ? Arrays[D] : tf.TypedArray;
  if (!Object.hasOwn(ARRAYS, dtype)) return values as Result;
  const ArrayClass = ARRAYS[dtype as keyof Arrays];
  return (values instanceof ArrayClass ? values : ArrayClass.from(values)) as Result;
}

/** The values as float32, whatever they lie in; the same array if it is one. */
export function floatsOf(values: tf.TypedArray): Float32Array {
  return valuesAs('float32', values);
}

/** How many values a tensor of a shape has. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, dimension) => size * dimension, 1);
}
