/** @file `.npy` and `.npz` files as batches: read by ranges, so they may be larger than memory. */

import {stat} from 'node:fs/promises';

import {FileError} from '../../errors.js';
import {pickNames, type ArraySource} from './array-batches.js';
import {ByteReader} from '../files/byte-reader.js';
import {fileChunks} from '../files/file-chunks.js';
import {fileFailure} from '../files/file-failure.js';
import {NPY_MAGIC_BYTES, isNpyStart} from './npy.js';
import {arraySource, closeAll, openArray, type OpenArray} from './open-arrays.js';
import {openZipMember, readZipDirectory, type ZipMember} from './zip.js';

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

async function openNpy(path: string): Promise<OpenArray> {
  const size = await fileSize(path);
  const reader = new ByteReader(fileChunks(path), path);
  return openArray('', reader, size);
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
      arrays.push(await openArray(name, reader, member.bytes));
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
  if (member.bytes < NPY_MAGIC_BYTES) return false;
  const reader = await openZipMember(path, member);
  try {
    return isNpyStart(await reader.read(NPY_MAGIC_BYTES, 'its start'));
  } finally {
    await reader.close();
  }
}

async function fileSize(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (cause) {
    throw fileFailure(path, cause);
  }
}
