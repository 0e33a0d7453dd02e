/** @file A file that is read from the sealed pieces in a storage, the next pieces while the last one is used. */
import {RandomAccess} from '../files/random-access.js';
import {PIECE_BYTES} from './cached-entry.js';
import type {PieceStore} from './piece-store.js';
import {unseal} from './sealed-piece.js';

/** Pieces on their way: one is read, another one's checksum is made, while the last one is used. */
const PIECES_AHEAD = 3;

export abstract class PieceFile extends RandomAccess {
  /** The piece that was read last, and the next ones on their way, by index. */
  private current: {readonly index: number; readonly bytes: Uint8Array} | null = null;
  private readonly ahead = new Map<number, Promise<Uint8Array<ArrayBuffer> | null>>();

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
    this.ahead.clear();
    return Promise.resolve();
  }

  /** What the pieces are sealed with. */
  protected abstract get stamp(): string;
  /** Whether all pieces are stored, so that the next ones can be read while the last one is used. */
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
    const end = this.isStored ? Math.min(this.pieces, index + 1 + PIECES_AHEAD) : index + 1;
    const wanted = this.ahead.get(index) ?? this.storedPiece(index);
    for (const other of this.ahead.keys()) if (other <= index || other >= end) this.ahead.delete(other);
    for (let next = index + 1; next < end; next++) {
      if (!this.ahead.has(next))
        this.ahead.set(
          next,
          this.storedPiece(next).catch(() => null),
        );
    }
    return (await wanted) ?? this.replace(index);
  }
}
