/** @file `.npy` and `.npz` files as batches: read by ranges, so they may be larger than memory. */

import {stat} from 'node:fs/promises';

import {FileError} from '../errors.js';
import {pickNames, type ArrayBatch, type ArraySource} from './array-batches.js';
import {ByteReader, fileChunks} from './byte-reader.js';
import {fileFailure} from './file-failure.js';
import {readNpyHeader, readNpyRows, type NpyHeader} from './npy.js';
import {ELEMENT_TYPES, type NumericArray} from './npy-values.js';
import {openZipMember, readZipDirectory} from './zip.js';

/** An array that is open for reading, at its first row. */
interface OpenArray {
  readonly name: string;
  readonly reader: ByteReader;
  readonly header: NpyHeader;
}

/** A `.npy` file: one array without a name. */
export function npyFile(path: string): ArraySource {
  return arraySource(path, async () => [await openNpy(path)]);
}

/**
 * A `.npz` file: named arrays with one row per item each.
 *
 * @param path The archive.
 * @param inputNames Which arrays to read; all by default.
 */
export function npzFile(path: string, inputNames?: readonly string[]): ArraySource {
  return arraySource(path, () => openNpz(path, inputNames));
}

function arraySource(path: string, openArrays: () => Promise<OpenArray[]>): ArraySource {
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
  for (const {name, reader, header} of arrays) batch.set(name, await readNpyRows(reader, header, rows));
  return batch;
}

async function openNpy(path: string): Promise<OpenArray> {
  const size = await fileSize(path);
  const reader = new ByteReader(fileChunks(path), path);
  return {name: '', reader, header: await headerOrClose(reader, size)};
}

async function openNpz(path: string, inputNames: readonly string[] | undefined): Promise<OpenArray[]> {
  const members = new Map(
    (await readZipDirectory(path)).map((member) => [member.name.replace(/\.npy$/, ''), member]),
  );
  const names = pickNames([...members.keys()], inputNames, path);
  if (names.length === 0) throw new FileError('empty-file', `${path} holds no arrays`, {path});
  const arrays: OpenArray[] = [];
  try {
    for (const name of names) {
      const member = members.get(name);
      if (member === undefined) continue; // pickNames returns known names only
      const reader = await openZipMember(path, member);
      arrays.push({name, reader, header: await headerOrClose(reader, member.bytes)});
    }
    return arrays;
  } catch (error) {
    await closeAll(arrays);
    throw error;
  }
}

async function headerOrClose(reader: ByteReader, byteLength: number): Promise<NpyHeader> {
  try {
    return await readNpyHeader(reader, byteLength);
  } catch (error) {
    await reader.close();
    throw error;
  }
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

async function closeAll(arrays: readonly OpenArray[]): Promise<void> {
  for (const {reader} of arrays) await reader.close();
}

async function fileSize(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (cause) {
    throw fileFailure(path, cause);
  }
}
