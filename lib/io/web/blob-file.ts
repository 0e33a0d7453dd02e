/** @file Files that a page was given: chosen, or dropped on it. */
import {FileError} from '../../errors.js';
import type {FileFolder} from '../files/file-folder.js';
import {RandomAccess} from '../files/random-access.js';

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
