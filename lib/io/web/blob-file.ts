/** @file Files that a page was given: chosen, or dropped on it. */
import {FileError} from '../../errors.js';
import type {FileFolder} from '../files/file-folder.js';
import {RandomAccess} from '../files/random-access.js';
import {digestText, hasNativeDigest} from './sealed-piece.js';

/** Read at a time: what is asked for is copied out of the browser's answer. */
const MAX_READ_BYTES = 8 * 1024 ** 2;

export class BlobFile extends RandomAccess {
  constructor(
    name: string,
    private readonly blob: Blob,
  ) {
    super(name, blob.size);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  protected async readSome(target: Uint8Array, position: number): Promise<number> {
    const length = Math.min(target.byteLength, MAX_READ_BYTES);
    let bytes: ArrayBuffer;
    try {
      bytes = await this.blob.slice(position, position + length).arrayBuffer();
    } catch (cause) {
      throw new FileError(
        'unreadable',
        `${this.name} cannot be read any more: it was changed or deleted after it was chosen; choose it again`,
        {path: this.name},
        {cause},
      );
    }
    target.set(new Uint8Array(bytes));
    return bytes.byteLength;
  }
}

/** A file in memory. */
class BytesFile extends RandomAccess {
  constructor(
    name: string,
    private readonly bytes: Uint8Array,
  ) {
    super(name, bytes.byteLength);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  protected readSome(target: Uint8Array, position: number): Promise<number> {
    const part = this.bytes.subarray(position, position + target.byteLength);
    target.set(part);
    return Promise.resolve(part.byteLength);
  }
}

/** Larger files are not taken into memory to be checked. */
const MAX_CHECKED_BYTES = 256 * 1024 ** 2;

/**
 * A file that the browser's own code, which is many times as fast as a script, has held against its checksum: it is in
 * memory then. A large one, and one on a page without https, is left to who reads it.
 *
 * @param file It is closed when its bytes are in memory.
 * @param sha256 Of all its bytes; null for none.
 * @throws {FileError} `checksum-mismatch`.
 */
export async function checkedFile(
  file: RandomAccess,
  sha256: string | null,
): Promise<{file: RandomAccess; isChecked: boolean}> {
  const {name, size} = file;
  if (sha256 === null || size > MAX_CHECKED_BYTES || !hasNativeDigest()) return {file, isChecked: false};
  const bytes = await file.read(0, size, 'all of it');
  await file.close();
  const found = await digestText(bytes);
  if (found === sha256) return {file: new BytesFile(name, bytes), isChecked: true};
  throw new FileError(
    'checksum-mismatch',
    `${name} is damaged: its SHA-256 is ${found}, the model.json says ${sha256}: copy the file again from where this ` +
      'model was written, or save the model again',
    {path: name, found, expected: sha256},
  );
}

/** Files that were given together, by their names without folders. */
export function filesFolder(files: readonly File[]): FileFolder {
  const byName = new Map(files.map((file) => [file.name, file]));
  const path = (files[0].webkitRelativePath as string | undefined) ?? ''; // Node's have none
  const name = path.includes('/') ? path.slice(0, path.indexOf('/')) : 'the given files';
  return {
    name,
    pathOf: (file) => file,
    list: () => Promise.resolve([...byName.keys()]),
    open: (file) => {
      const found = byName.get(file);
      if (found !== undefined) return Promise.resolve(new BlobFile(file, found));
      return Promise.reject(
        new FileError('missing-file', `${file} is not among the given files: give the whole folder`, {
          path: file,
        }),
      );
    },
  };
}
