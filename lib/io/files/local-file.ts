/** @file A file on the disk that is read by position. */
import {open, type FileHandle} from 'node:fs/promises';

import {ModelError} from '../../errors.js';
import {fileFailure} from './file-failure.js';
import {RandomAccess} from './random-access.js';

/** `read` of the operating system moves at most 2 GiB - 4 KiB a call. */
const MAX_READ_BYTES = 1024 ** 3;

/** An open file. */
export class LocalFile extends RandomAccess {
  private constructor(
    path: string,
    size: number,
    private readonly handle: FileHandle,
  ) {
    super(path, size);
  }

  /**
   * Opens a file for reading.
   *
   * @throws {FileError} `missing-file`, `no-permission`, `not-a-file`: as the operating system says.
   */
  static async open(path: string): Promise<LocalFile> {
    try {
      const handle = await open(path);
      const stats = await handle.stat();
      if (stats.isFile()) return new LocalFile(path, stats.size, handle);
      await handle.close();
    } catch (cause) {
      throw fileFailure(path, cause);
    }
    throw new ModelError('not-a-file', `${path} is no regular file: name a file of weights`, {path});
  }

  close(): Promise<void> {
    return this.handle.close();
  }

  protected async readSome(target: Uint8Array, position: number): Promise<number> {
    const length = Math.min(MAX_READ_BYTES, target.byteLength);
    try {
      return (await this.handle.read(target, 0, length, position)).bytesRead;
    } catch (cause) {
      throw fileFailure(this.name, cause);
    }
  }
}
