/**
 * @file Where a page keeps the pieces of files that it downloaded: what a storage must be able to do, and the one that is
 * there everywhere, memory. An entry is a file; its pieces have names. Whole files are not stored: browsers break large
 * answers in the Cache API, and a piece that is damaged can be fetched again alone.
 */

export interface PieceStore {
  /** What keeps them, for messages: `memory` ends with the page. */
  readonly kind: 'opfs' | 'cache-api' | 'memory';
  /** Names of all entries. */
  entries(): Promise<readonly string[]>;
  /** Names of the pieces of an entry; none if there is no such entry. */
  names(entry: string): Promise<readonly string[]>;
  /** A piece; null if it is not there. */
  read(entry: string, name: string): Promise<Uint8Array<ArrayBuffer> | null>;
  /**
   * Keeps a piece in the place of an older one. What a tab that ends meanwhile leaves may be incomplete.
   *
   * @throws {DOMException} `QuotaExceededError` if the browser gives no more space.
   */
  write(entry: string, name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Deletes a piece, or the whole entry; what is not there already is no error. */
  remove(entry: string, name?: string): Promise<void>;
  /** How many bytes can still be stored; null if nobody says. */
  freeBytes(): Promise<number | null>;
}

/** Pieces in memory. */
export class MemoryStore implements PieceStore {
  readonly kind: PieceStore['kind'] = 'memory';
  private readonly pieces = new Map<string, Map<string, Uint8Array<ArrayBuffer>>>();

  /** @param limit Bytes that it takes at most. */
  constructor(private readonly limit: number | null = null) {}

  entries(): Promise<readonly string[]> {
    return Promise.resolve([...this.pieces.keys()]);
  }

  names(entry: string): Promise<readonly string[]> {
    return Promise.resolve([...(this.pieces.get(entry)?.keys() ?? [])]);
  }

  read(entry: string, name: string): Promise<Uint8Array<ArrayBuffer> | null> {
    return Promise.resolve(this.pieces.get(entry)?.get(name) ?? null);
  }

  async write(entry: string, name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const free = await this.freeBytes();
    const old = this.pieces.get(entry)?.get(name)?.byteLength ?? 0;
    if (free !== null && bytes.byteLength > free + old) {
      throw new DOMException('the limit of this storage is reached', 'QuotaExceededError');
    }
    const pieces = this.pieces.get(entry) ?? new Map<string, Uint8Array<ArrayBuffer>>();
    this.pieces.set(entry, pieces.set(name, bytes));
  }

  remove(entry: string, name?: string): Promise<void> {
    if (name === undefined) this.pieces.delete(entry);
    else this.pieces.get(entry)?.delete(name);
    return Promise.resolve();
  }

  freeBytes(): Promise<number | null> {
    if (this.limit === null) return Promise.resolve(null);
    let used = 0;
    for (const pieces of this.pieces.values()) for (const {byteLength} of pieces.values()) used += byteLength;
    return Promise.resolve(Math.max(0, this.limit - used));
  }
}
