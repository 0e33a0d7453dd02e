/** @file `.npy` and `.npz` files as batches: read by ranges, so they may be larger than memory. */

import {stat} from 'node:fs/promises';

import {FileError} from '../../errors.js';
import {pickNames, type ArrayBatch, type ArraySource} from './array-batches.js';
import {ByteReader, fileChunks} from '../files/byte-reader.js';
import {fileFailure} from '../files/file-failure.js';
import {NPY_MAGIC, readNpyHeader, readNpyRows, rowMajor, type NpyHeader} from './npy.js';
import {ELEMENT_TYPES, type NumericArray} from './npy-values.js';
import {openZipMember, readZipDirectory, type ZipMember} from './zip.js';

/** An array that is open for reading, at its first row. */
interface OpenArray {
  readonly name: string;
  readonly reader: ByteReader;
  readonly header: NpyHeader;
  /** An array whose rows do not lie together, once it is read. */
  whole?: NumericArray;
  /** Rows that were given. */
  done: number;
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

async function openNpy(path: string): Promise<OpenArray> {
  const size = await fileSize(path);
  const reader = new ByteReader(fileChunks(path), path);
  return {name: '', reader, header: await headerOrClose(reader, size), done: 0};
}

async function openNpz(path: string, inputNames: readonly string[] | undefined): Promise<OpenArray[]> {
  const all = await readZipDirectory(path);
  const members = await arrayMembers(path, all);
  if (members.size === 0) {
    const others = all.slice(0, 5).map(({name}) => name);
    throw new FileError(
      'empty-file',
      `${path} holds no arrays${others.length === 0 ? '' : `, only ${others.join(', ')}`}: write it with numpy.savez`,
      {path},
    );
  }
  const names = pickNames([...members.keys()], inputNames, path);
  const arrays: OpenArray[] = [];
  try {
    for (const name of names) {
      const member = members.get(name);
      if (member === undefined) continue; // pickNames returns known names only
      const reader = await openZipMember(path, member);
      arrays.push({name, reader, header: await headerOrClose(reader, member.bytes), done: 0});
    }
    return arrays;
  } catch (error) {
    await closeAll(arrays);
    throw error;
  }
}

/** Folders and what systems put beside files: `__MACOSX/._a.npy`, `.DS_Store`. */
const STRAY = /\/$|^__MACOSX\/|(^|\/)\./;

/** The arrays of an archive by name; other files in it are passed over, as numpy.load does until it is asked for them. */
async function arrayMembers(path: string, all: readonly ZipMember[]): Promise<Map<string, ZipMember>> {
  const members = new Map<string, ZipMember>();
  for (const member of all) {
    if (STRAY.test(member.name)) continue;
    if (!member.name.endsWith('.npy') && !(await isNpyMember(path, member))) continue;
    const name = member.name.replace(/\.npy$/, '');
    if (members.has(name)) {
      throw new FileError('malformed-zip', `${path} holds two arrays "${name}": write it anew`, {path, name});
    }
    members.set(name, member);
  }
  return members;
}

/** Whether a member without the ending is an array all the same. */
async function isNpyMember(path: string, member: ZipMember): Promise<boolean> {
  if (member.bytes < NPY_MAGIC.length) return false;
  const reader = await openZipMember(path, member);
  try {
    return Buffer.from(await reader.read(NPY_MAGIC.length, 'its start')).toString('latin1') === NPY_MAGIC;
  } finally {
    await reader.close();
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
