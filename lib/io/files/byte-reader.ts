/** @file Bytes of a file, a blob or an archive member in order, in pieces of any length that the caller asks for. */

import {FileError} from '../../errors.js';

/** A single typed array of this size still works everywhere; a larger batch is refused. */
export const MAX_READ_BYTES = 2 * 1024 ** 3;

/** Bytes that can be read once, from front to back. */
export class ByteReader {
  /** Position of the next byte. */
  offset = 0;
  private readonly chunks: AsyncIterator<Uint8Array>;
  private rest: Uint8Array = new Uint8Array(0);

  /**
   * @param chunks The bytes; closed by `close`.
   * @param source The file, for errors.
   */
  constructor(
    chunks: AsyncIterable<Uint8Array>,
    readonly source: string,
  ) {
    this.chunks = chunks[Symbol.asyncIterator]();
  }

  /**
   * Reads exactly `length` bytes.
   *
   * @param what What they are, for the error.
   * @returns A new array that starts its own buffer, so that wider arrays can be laid over it.
   * @throws FileError `truncated` if the bytes end before that, `too-large` over `MAX_READ_BYTES`.
   */
  async read(length: number, what: string): Promise<Uint8Array<ArrayBuffer>> {
    if (length > MAX_READ_BYTES) {
      throw new FileError(
        'too-large',
        `${this.source}: ${what} would take ${length} bytes at once; at most ${MAX_READ_BYTES}: use a smaller batch size`,
        {path: this.source, length},
      );
    }
    const bytes = new Uint8Array(length);
    for (let filled = 0; filled < length;) {
      if (this.rest.byteLength === 0 && !(await this.advance())) {
        throw new FileError(
          'truncated',
          `${this.source} ends at byte ${this.offset + filled}, in the middle of ${what}: copy or make it again`,
          {path: this.source, offset: this.offset + filled},
        );
      }
      const taken = this.rest.subarray(0, length - filled);
      bytes.set(taken, filled);
      filled += taken.byteLength;
      this.rest = this.rest.subarray(taken.byteLength);
    }
    this.offset += length;
    return bytes;
  }

  /** Whether no byte is left. Reads on to find out, so a checksum at the end of the bytes is checked. */
  async atEnd(): Promise<boolean> {
    while (this.rest.byteLength === 0) {
      if (!(await this.advance())) return true;
    }
    return false;
  }

  /** Lets go of the file; needed unless all was read. */
  async close(): Promise<void> {
    await this.chunks.return?.();
  }

  private async advance(): Promise<boolean> {
    const next = await this.chunks.next();
    if (next.done === true) return false;
    this.rest = next.value;
    return true;
  }
}
