/** @file An answer of a server cut into pieces, each with room for its seal. */
import {FileError} from '../../errors.js';
import type {RangeAnswer} from './http-range.js';
import {SEAL_BYTES} from './sealed-piece.js';

export class PieceReader {
  private rest: Uint8Array = new Uint8Array(0);

  /** @param url For errors. */
  constructor(
    private readonly answer: Pick<RangeAnswer, 'read'>,
    private readonly url: string,
  ) {}

  /** A piece of just so many bytes. @throws {FileError} `connection-lost` if the answer ends before. */
  async next(length: number): Promise<Uint8Array<ArrayBuffer>> {
    const piece = await this.upTo(length);
    if (piece.byteLength === length + SEAL_BYTES) return piece;
    throw new FileError(
      'connection-lost',
      `the download of ${this.url} ended before its end: try again, it goes on from there`,
      {url: this.url},
    );
  }

  /** A piece of so many bytes, or of those that are left. */
  async upTo(length: number): Promise<Uint8Array<ArrayBuffer>> {
    const piece = new Uint8Array(length + SEAL_BYTES);
    let filled = 0;
    while (filled < length) {
      if (this.rest.byteLength === 0) {
        const next = await this.answer.read();
        if (next === null) break;
        this.rest = next;
      }
      const taken = this.rest.subarray(0, length - filled);
      piece.set(taken, filled);
      filled += taken.byteLength;
      this.rest = this.rest.subarray(taken.byteLength);
    }
    return filled === length ? piece : piece.slice(0, filled + SEAL_BYTES);
  }
}
