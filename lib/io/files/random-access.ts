/**
 * @file Bytes of known number that are read by position, wherever they lie: a file on the disk, one that a page was given,
 * one behind a URL. Every read is checked against the size that was known when they were opened.
 */
import {ModelError} from '../../errors.js';

/** Open bytes; who opened them closes them. */
export abstract class RandomAccess {
  protected constructor(
    /** Path, name or URL, for errors. */
    readonly name: string,
    /** In bytes, when they were opened. */
    readonly size: number,
  ) {}

  /**
   * Fills `target` with the bytes from `position` on.
   *
   * @param target Any typed array's bytes; files are little-endian, as is every machine that TensorFlow.js runs on.
   * @param position First byte.
   * @param what What is read, for the error: `tensor "model.norm.weight"`.
   * @throws {ModelError} `truncated` if the bytes end before that; what reading them throws.
   */
  async readInto(target: Uint8Array, position: number, what: string): Promise<void> {
    if (position + target.byteLength > this.size) throw this.truncated(what, position + target.byteLength);
    for (let filled = 0; filled < target.byteLength;) {
      const count = await this.readSome(target.subarray(filled), position + filled);
      if (count === 0) throw this.truncated(what, position + target.byteLength);
      filled += count;
    }
  }

  /** Reads `length` bytes from `position` on into a new array. Check `length` against a limit before. */
  async read(position: number, length: number, what: string): Promise<Uint8Array<ArrayBuffer>> {
    if (position + length > this.size) throw this.truncated(what, position + length);
    const bytes = new Uint8Array(length);
    await this.readInto(bytes, position, what);
    return bytes;
  }

  /** Lets go of them; a second call does nothing. */
  abstract close(): Promise<void>;

  /** Reads at least one byte and at most as many as `target`, which is not empty, has; 0 at the end. */
  protected abstract readSome(target: Uint8Array, position: number): Promise<number>;

  private truncated(what: string, needed: number): ModelError {
    const {name, size} = this;
    return new ModelError(
      'truncated',
      `${name} is ${size} bytes, but ${what} ends at byte ${needed}: the file was cut off, copy or download it again`,
      {path: name, size, needed, what},
    );
  }
}
