/** @file A file that is read from the sealed pieces in a storage, the next piece while the last one is used. */
import {RandomAccess} from '../files/random-access.js';
import {PIECE_BYTES} from './cached-entry.js';
import type {PieceStore} from './piece-store.js';
import {unseal} from './sealed-piece.js';

export abstract class PieceFile extends RandomAccess {
  /** The piece that was read last, and the next one on its way. */
  private current: {readonly index: number; readonly bytes: Uint8Array} | null = null;
  private ahead: {readonly index: number; readonly bytes: Promise<Uint8Array<ArrayBuffer> | null>} | null =
    null;

  /** @param key Of the file's entry in the storage. */
  protected constructor(
    name: string,
    size: number,
    protected readonly store: PieceStore,
    protected readonly key: string,
  ) {
    super(name, size);
  }

  close(): Promise<void> {
    this.current = null;
    this.ahead = null;
    return Promise.resolve();
  }

  /** What the pieces are sealed with. */
  protected abstract get stamp(): string;
  /** Whether all pieces are stored, so that the next one can be read while the last one is used. */
  protected abstract get isStored(): boolean;
  /** Gives a piece that is not stored whole. */
  protected abstract replace(index: number): Promise<Uint8Array>;

  protected get pieces(): number {
    return Math.ceil(this.size / PIECE_BYTES);
  }

  protected lengthOf(index: number): number {
    return Math.min(PIECE_BYTES, this.size - index * PIECE_BYTES);
  }

  /** A piece out of the storage; null if it is not there whole. */
  protected async storedPiece(index: number): Promise<Uint8Array<ArrayBuffer> | null> {
    const sealed = await this.store.read(this.key, `${index}`);
    return sealed === null ? null : unseal(sealed, this.stamp, this.lengthOf(index));
  }

  protected async readSome(target: Uint8Array, position: number): Promise<number> {
    const index = Math.floor(position / PIECE_BYTES);
    if (this.current?.index !== index) this.current = {index, bytes: await this.piece(index)};
    const bytes = this.current.bytes.subarray(position - index * PIECE_BYTES).subarray(0, target.byteLength);
    target.set(bytes);
    return bytes.byteLength;
  }

  private async piece(index: number): Promise<Uint8Array> {
    const found = await (this.ahead?.index === index ? this.ahead.bytes : this.storedPiece(index));
    const next = index + 1;
    this.ahead =
      this.isStored && next < this.pieces
        ? {index: next, bytes: this.storedPiece(next).catch(() => null)}
        : null;
    return found ?? this.replace(index);
  }
}
