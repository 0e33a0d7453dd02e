/** @file Arrays of `.npy` format that are open for reading, wherever their bytes come from, as batches of rows. */

import {FileError} from '../../errors.js';
import type {ByteReader} from '../files/byte-reader.js';
import type {ArrayBatch, ArraySource} from './array-batches.js';
import {readNpyHeader, readNpyRows, rowMajor, type NpyHeader} from './npy.js';
import {ELEMENT_TYPES, type NumericArray} from './npy-values.js';

/** An array that is open for reading, at its first row. */
export interface OpenArray {
  readonly name: string;
  readonly reader: ByteReader;
  readonly header: NpyHeader;
  /** An array whose rows do not lie together, once it is read. */
  whole?: NumericArray;
  /** Rows that were given. */
  done: number;
}

/**
 * Opens an array for reading.
 *
 * @param name What its tensors are called; '' in a format without names.
 * @param reader At the first byte of a `.npy` file; closed if that is malformed.
 * @param byteLength Bytes of that file in all.
 * @throws {FileError} as `readNpyHeader`.
 */
export async function openArray(name: string, reader: ByteReader, byteLength: number): Promise<OpenArray> {
  try {
    return {name, reader, header: await readNpyHeader(reader, byteLength), done: 0};
  } catch (error) {
    await reader.close();
    throw error;
  }
}

/**
 * Arrays that are read side by side, a row of each an item.
 *
 * @param path What holds them, for errors.
 * @param openArrays Called for every walk, and to tell the number of items.
 */
export function arraySource(path: string, openArrays: () => Promise<OpenArray[]>): ArraySource {
  return {
    async itemCount() {
      const arrays = await openArrays();
      await closeAll(arrays);
      return commonItemCount(path, arrays);
    },
    async holdsBytes() {
      const arrays = await openArrays();
      await closeAll(arrays);
      return arrays.some(({header}) => header.element === ELEMENT_TYPES.u1);
    },
    async *batches(batchSize) {
      const arrays = await openArrays();
      try {
        const count = commonItemCount(path, arrays);
        for (let done = 0; done < count; done += batchSize) {
          yield await nextBatch(arrays, Math.min(batchSize, count - done));
        }
        for (const {reader} of arrays) await reader.atEnd(); // so that checksums are checked
      } finally {
        await closeAll(arrays);
      }
    },
  };
}

async function nextBatch(arrays: readonly OpenArray[], rows: number): Promise<ArrayBatch> {
  const batch = new Map<string, NumericArray>();
  for (const array of arrays) batch.set(array.name, await nextRows(array, rows));
  return batch;
}

async function nextRows(array: OpenArray, rows: number): Promise<NumericArray> {
  const {reader, header} = array;
  if (!header.columnMajor) return readNpyRows(reader, header, rows);
  array.whole ??= rowMajor(await readNpyRows(reader, header, header.shape[0]));
  const {values, shape, dtype} = array.whole;
  const rowSize = values.length / shape[0];
  const start = array.done;
  array.done += rows;
  return {
    values: values.slice(start * rowSize, (start + rows) * rowSize),
    shape: [rows, ...shape.slice(1)],
    dtype,
  };
}

function commonItemCount(path: string, arrays: readonly OpenArray[]): number {
  const counts = arrays.map(({header}) => header.shape[0]);
  if (counts.some((count) => count !== counts[0])) {
    throw new FileError(
      'item-count-mismatch',
      `the arrays of ${path} have different numbers of items: ` +
        `${arrays.map(({name}, i) => `${name} ${counts[i]}`).join(', ')}; name those that are inputs`,
      {path, counts},
    );
  }
  return counts[0];
}

/** Lets go of the files of all arrays. */
export async function closeAll(arrays: readonly OpenArray[]): Promise<void> {
  for (const {reader} of arrays) await reader.close();
}
