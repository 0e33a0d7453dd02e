/** @file A file of weights that is read by position: every read is checked against the size that the file had when it was opened. */
import {open, type FileHandle} from 'node:fs/promises';

import {ModelError} from '../../errors.js';
import {fileFailure} from '../../io/files/file-failure.js';

/** `read` of the operating system moves at most 2 GiB - 4 KiB a call. */
const MAX_READ_BYTES = 1024 ** 3;

/** An open file of known size. */
export class RandomAccessFile {
  private constructor(
    readonly path: string,
    /** In bytes, when it was opened. */
    readonly size: number,
    private readonly handle: FileHandle,
  ) {}

  /**
   * Opens a file for reading.
   *
   * @throws {FileError} `missing-file`, `no-permission`, `not-a-file`: as the operating system says.
   */
  static async open(path: string): Promise<RandomAccessFile> {
    try {
      const handle = await open(path);
      const stats = await handle.stat();
      if (stats.isFile()) return new RandomAccessFile(path, stats.size, handle);
      await handle.close();
    } catch (cause) {
      throw fileFailure(path, cause);
    }
    throw new ModelError('not-a-file', `${path} is no regular file: name a file of weights`, {path});
  }

  /**
   * Fills `target` with the bytes from `position` on.
   *
   * @param target Any typed array's bytes; the file is little-endian, as is every machine that TensorFlow.js runs on.
   * @param position First byte in the file.
   * @param what What is read, for the error: `tensor "model.norm.weight"`.
   * @throws {ModelError} `truncated` if the file ends before that.
   */
  async readInto(target: Uint8Array, position: number, what: string): Promise<void> {
    if (position + target.byteLength > this.size) throw this.truncated(what, position + target.byteLength);
    for (let filled = 0; filled < target.byteLength;) {
      const length = Math.min(MAX_READ_BYTES, target.byteLength - filled);
      const {bytesRead} = await this.readAt(target, filled, length, position + filled);
      if (bytesRead === 0) throw this.truncated(what, position + target.byteLength);
      filled += bytesRead;
    }
  }

  /** Reads `length` bytes from `position` on into a new array. Check `length` against a limit before. */
  async read(position: number, length: number, what: string): Promise<Uint8Array<ArrayBuffer>> {
    if (position + length > this.size) throw this.truncated(what, position + length);
    const bytes = new Uint8Array(length);
    await this.readInto(bytes, position, what);
    return bytes;
  }

  /** Closes the file; a second call does nothing. */
  close(): Promise<void> {
    return this.handle.close();
  }

  private async readAt(target: Uint8Array, offset: number, length: number, position: number) {
    try {
      return await this.handle.read(target, offset, length, position);
    } catch (cause) {
      throw fileFailure(this.path, cause);
    }
  }

  private truncated(what: string, needed: number): ModelError {
    const {path, size} = this;
    return new ModelError(
      'truncated',
      `${path} is ${size} bytes, but ${what} ends at byte ${needed}: the file was cut off, copy or download it again`,
      {path, size, needed, what},
    );
  }
}
