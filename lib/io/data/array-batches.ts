/** @file What every data format is read into: named arrays, some items at a time, before they become tensors. */

import * as tf from '@tensorflow/tfjs';

import {FileError, nearest} from '../../errors.js';
import type {NumericArray} from './npy-values.js';

/** One batch: arrays [items, ...] by name; the name is '' in a format without names. */
export type ArrayBatch = ReadonlyMap<string, NumericArray>;

/** A file of arrays. */
export interface ArraySource {
  /** Items in the file, or undefined if only reading all of it would tell. */
  itemCount(): Promise<number | undefined>;
  /** Whether an array of it holds unsigned bytes, as images do. */
  holdsBytes(): Promise<boolean>;
  /** Reads the file from its start; every batch has `batchSize` items, the last one what is left. */
  batches(batchSize: number): AsyncIterable<ArrayBatch>;
}

/** How numbers become tensors. */
export interface TensorOptions {
  /** Multiplied with every value, e.g. 1 / 255 for bytes; the tensors are float32 then. */
  readonly scale?: number;
  /** By default what the file holds: float32 for JSON and floats, int32 for integers, bool. */
  readonly dtype?: 'float32' | 'int32';
}

/**
 * Makes a tensor of an array.
 *
 * @param array Its values are used in place where the dtype allows.
 * @param options Scale and dtype.
 * @param source The file, for errors.
 * @returns The tensor, owned by the caller.
 * @throws FileError `out-of-range` if `dtype` is int32 and a value is no integer that fits.
 */
export function toTensor(array: NumericArray, {scale, dtype}: TensorOptions, source: string): tf.Tensor {
  const {values} = array;
  const target = dtype ?? (scale === undefined ? array.dtype : 'float32');
  if (target === 'bool') return tf.tensor(Uint8Array.from(values), [...array.shape], 'bool');
  const scaled = scale === undefined ? values : Float64Array.from(values, (value) => value * scale);
  if (target === 'int32') {
    const bad = scaled.find((value) => (value | 0) !== value);
    if (bad !== undefined) {
      throw new FileError('out-of-range', `${source}: ${bad} is no int32: read it as float32`, {
        path: source,
        value: bad,
      });
    }
  }
  const converted = target === 'int32' ? asInt32(scaled) : asFloat32(scaled, source);
  return tf.tensor(converted, [...array.shape], target);
}

function asInt32(values: NumericArray['values']): Int32Array {
  return values instanceof Int32Array ? values : Int32Array.from(values);
}

/**
 * Values as float32.
 *
 * @throws {FileError} `out-of-range` for a finite value that would become an infinity.
 */
export function asFloat32(values: NumericArray['values'], source: string): Float32Array {
  if (values instanceof Float32Array) return values;
  const floats = Float32Array.from(values);
  const index = floats.findIndex((value, i) => !Number.isFinite(value) && Number.isFinite(values[i]));
  if (index < 0) return floats;
  throw new FileError(
    'out-of-range',
    `${source}: ${values[index]} (value ${index} of a batch) is beyond float32, whose largest is 3.4e38: scale the data, ` +
      'or leave that item out',
    {path: source, value: values[index]},
  );
}

/**
 * Picks names out of those that a file has.
 *
 * @param known The file's names in order.
 * @param wanted Names to pick, in this order; all if undefined.
 * @throws FileError `unknown-name` that lists the nearest names.
 */
export function pickNames(
  known: readonly string[],
  wanted: readonly string[] | undefined,
  source: string,
): string[] {
  for (const name of wanted ?? []) {
    if (known.includes(name)) continue;
    const near = nearest(name, known);
    throw new FileError(
      'unknown-name',
      `${source} has no array "${name}"; ${near.length > 0 ? 'nearest' : 'it has'}: ${(near.length > 0 ? near : known).join(', ')}`,
      {path: source, name, known},
    );
  }
  return [...(wanted ?? known)];
}
