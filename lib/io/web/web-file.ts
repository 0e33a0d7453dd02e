/**
 * @file A file behind a URL, downloaded in pieces into a storage and read from there. What a tab downloaded before it was
 * closed, or the connection lost, is gone on with; a piece that is damaged is fetched again; pieces of two states of a
 * file never meet. While it is not whole, one tab at a time downloads it.
 */
import {FileError} from '../../errors.js';
import {Sha256} from '../files/sha256.js';
import {bareUrl} from '../files/url-credentials.js';
import {
  PIECE_BYTES,
  entryName,
  readEntry,
  storedPieces,
  writeEntry,
  type CachedEntry,
} from './cached-entry.js';
import {PieceFile} from './piece-file.js';
import {PieceReader} from './piece-reader.js';
import {isSame, requestRange, type FileState, type RangeAnswer} from './http-range.js';
import {lock, type Release} from './locks.js';
import type {PieceStore} from './piece-store.js';
import {SEAL_BYTES, freshStamp, seal, unseal} from './sealed-piece.js';

export interface WebFileOptions {
  readonly store: PieceStore;
  /** URL of the model that the file belongs to: what is listed and deleted together. */
  readonly model: string;
  readonly authorization?: string | null;
  /** Of the whole file, 64 hexadecimal digits; null where it is not known. */
  readonly sha256?: string | null;
  /** Ask the server whether a file that is stored whole is still the same. False by default. */
  readonly refresh?: boolean;
  /** Is told how many more bytes of the file are there, and whether they were stored already. */
  readonly onBytes?: (count: number, isFromCache: boolean) => void;
  /** Is told in words what went another way than usual. */
  readonly onNotice?: (text: string) => void;
  readonly signal?: AbortSignal;
  readonly silenceMs?: number;
  /** Waited before a failed request is repeated, longer each time. */
  readonly retryMs?: number;
}

/** Requests in a row that bring nothing, before it is an error. */
const MAX_VAIN_REQUESTS = 4;
const RETRY_MS = 500;

/** Failures that a later request may not meet. */
const BUSY: ReadonlySet<string> = new Set(['server-busy']);
const PASSING: ReadonlySet<string> = new Set([...BUSY, 'unreachable', 'connection-lost']);

export class WebFile extends PieceFile {
  /** Of the first pieces, where there is a checksum to hold the file against. */
  private hash: {readonly of: Sha256; pieces: number} = {of: new Sha256(), pieces: 0};
  /** Bytes that `onBytes` was told of. */
  private told = 0;

  private constructor(
    private readonly url: string,
    key: string,
    private entry: CachedEntry & {readonly size: number},
    private release: Release | null,
    private readonly options: WebFileOptions,
    /** Pieces of a file that is not complete that are stored whole. */
    private readonly there = new Set<number>(),
  ) {
    super(url, entry.size, options.store, key);
  }

  /**
   * Opens a file. Of one that is not stored whole, no more is downloaded than its size takes to know.
   *
   * @param url http or https, without user and password.
   * @returns The file; close it. Other tabs wait for it as long as it is neither complete nor closed.
   * @throws {FileError} As `requestRange`; `storage-full`; the signal's reason.
   */
  static async open(url: string, options: WebFileOptions): Promise<WebFile> {
    const {store, onNotice, signal} = options;
    const key = await entryName(url);
    const entry = await readEntry(store, key);
    if (entry?.isAbsent === true && options.refresh !== true) {
      throw new FileError('missing-file', `${url} was not on its server when the model was stored`, {url});
    }
    if (options.refresh !== true && isUsable(entry, options.sha256)) {
      return new WebFile(url, key, entry, null, options);
    }
    const release = await lock(
      `tfjs-sparsify:${key}`,
      () => onNotice?.(`${url} is being downloaded by another tab or call: waiting for it`),
      signal,
    );
    try {
      const file = await WebFile.begin(url, key, release, options);
      if (file.entry.isComplete) file.unlock();
      return file;
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Makes an entry, or finds that the one that is there can be gone on with. */
  private static async begin(
    url: string,
    key: string,
    release: Release,
    options: WebFileOptions,
  ): Promise<WebFile> {
    const {store, onNotice} = options;
    const old = await readEntry(store, key);
    const known = await usable(old, url, options); // another tab may have made it whole meanwhile
    if (known !== null) return new WebFile(url, key, known, release, options);
    const begun = old !== null && !old.isComplete && isSized(old) ? old : null;
    const there = begun === null ? new Set<number>() : await wholePieces(store, key, begun);
    const start = firstGap(there) * PIECE_BYTES;
    const isWhole = begun !== null && start >= begun.size;
    if (isWhole && options.refresh !== true) return new WebFile(url, key, begun, release, options, there);
    const answer = await patiently(
      options,
      () =>
        requestRange({
          url,
          authorization: options.authorization ?? null,
          start: begun === null || isWhole ? 0 : start,
          end: null,
          state: begun,
          signal: options.signal,
          silenceMs: options.silenceMs,
        }),
      BUSY,
    );
    try {
      if (begun !== null) {
        if (answer.size !== null && isSame(begun, answer)) {
          return new WebFile(url, key, begun, release, options, there);
        }
        onNotice?.(
          hasNoState(answer)
            ? `the server of ${url} does not say whether it has changed since a part of it was downloaded: it is downloaded anew`
            : `${url} has changed since a part of it was downloaded: it is downloaded anew`,
        );
      }
      await store.remove(key);
      const {size, etag, lastModified} = answer;
      const entry: CachedEntry = {
        ...{
          url: bareUrl(url),
          model: options.model,
          stamp: freshStamp(),
          isComplete: false,
          isAbsent: false,
          sha256: null,
        },
        ...{size, etag, lastModified},
      };
      const file = new WebFile(
        url,
        key,
        {...entry, size: size ?? (await receiveWhole(key, entry, answer, options))},
        release,
        options,
      );
      if (size === null) {
        file.told = file.size;
        file.entry = {...file.entry, isComplete: true};
      }
      await storing(options, url, () => writeEntry(store, key, file.entry));
      return file;
    } finally {
      answer.cancel();
    }
  }

  /** Bytes that are still to be downloaded. */
  get missingBytes(): number {
    if (this.entry.isComplete) return 0;
    let missing = this.size;
    for (const index of this.there) missing -= this.lengthOf(index);
    return missing;
  }

  /**
   * Downloads what is missing, holds the whole against its checksum, and lets other tabs in.
   *
   * @throws {FileError} `checksum-mismatch`, and the stored file is deleted then; as `open`.
   */
  async complete(): Promise<void> {
    const {store} = this;
    const {sha256 = null, signal} = this.options;
    if (this.entry.isComplete && (sha256 === null || this.entry.sha256 === sha256)) {
      this.tell(this.size - this.told, true);
      this.unlock();
      return;
    }
    await this.lockIfNeeded();
    const {there} = this;
    this.tell(this.size - this.missingBytes - this.told, true);
    // Where a server cannot say that the file is the same, pieces that were there may be gone after a request.
    for (let gap = firstGap(there); !this.entry.isComplete && gap < this.pieces; gap = firstGap(there)) {
      signal?.throwIfAborted();
      await this.fetchPieces(gap, nextStored(gap, there, this.pieces), there);
    }
    if (sha256 !== null) {
      const found = await this.checksum();
      if (found !== sha256) {
        await store.remove(this.key);
        this.unlock();
        throw new FileError(
          'checksum-mismatch',
          `${this.url} is not the file that was asked for: its SHA-256 is ${found}, it must be ${sha256}; it was not kept: ` +
            'load it again if it was damaged on the way, else correct the checksum or the address',
          {url: this.url, found, expected: sha256},
        );
      }
    }
    this.entry = {...this.entry, isComplete: true, sha256: sha256 ?? this.entry.sha256};
    await storing(this.options, this.url, () => writeEntry(store, this.key, this.entry));
    this.unlock();
  }

  override close(): Promise<void> {
    this.unlock();
    return super.close();
  }

  protected get stamp(): string {
    return this.entry.stamp;
  }

  protected get isStored(): boolean {
    return this.entry.isComplete;
  }

  protected async replace(index: number): Promise<Uint8Array> {
    const {store} = this;
    const {onNotice} = this.options;
    await this.lockIfNeeded();
    try {
      const repaired = await this.storedPiece(index); // by another tab, while this one waited
      if (repaired !== null) return repaired;
      const isWhole = this.entry.isComplete;
      if (isWhole || this.there.has(index)) {
        onNotice?.(`a part of ${this.url} in the cache is missing or damaged: it is downloaded again`);
      }
      this.there.delete(index);
      // Of a file that is stored whole, what comes by the way is there already.
      const there = isWhole ? await storedPieces(store, this.key) : this.there;
      there.delete(index);
      return await this.fetchPieces(index, index + 1, there);
    } finally {
      if (this.entry.isComplete) this.unlock();
    }
  }

  /**
   * Downloads pieces in a row and stores them.
   *
   * @param there Pieces that are stored; those that come by the way are added.
   * @returns The first of them.
   */
  private async fetchPieces(from: number, to: number, there: Set<number>): Promise<Uint8Array> {
    let first: Uint8Array | null = null;
    let next = from;
    const download = async (progress: () => void) => {
      const answer = await this.request(next * PIECE_BYTES, Math.min(to * PIECE_BYTES, this.size));
      try {
        await this.checkSame(answer, there);
        const reader = new PieceReader(answer, this.url);
        for (let index = answer.start / PIECE_BYTES; next < to; index++) {
          const sealed = await reader.next(this.lengthOf(index));
          this.options.signal?.throwIfAborted();
          if (index > next || there.has(index)) continue;
          const bytes = await this.keep(index, sealed);
          there.add(index);
          this.tell(bytes.byteLength, false);
          if (index !== next) continue;
          if (next === from) first = bytes;
          next++;
          progress();
        }
      } finally {
        answer.cancel();
      }
    };
    await patiently(this.options, download, PASSING);
    return first!;
  }

  private request(start: number, end: number): Promise<RangeAnswer> {
    const {authorization = null, signal, silenceMs} = this.options;
    const wanted = end < this.size ? end : null;
    return requestRange({
      url: this.url,
      authorization,
      start,
      end: wanted,
      state: this.entry,
      signal,
      silenceMs,
    });
  }

  /** Bytes of another state than those that are stored are not put beside them. */
  private async checkSame(answer: RangeAnswer, there: Set<number>): Promise<void> {
    if (isSame(this.entry, answer)) return;
    const {store} = this;
    const cannotTell =
      answer.start === 0 && answer.size === this.size && hasNoState(answer) && hasNoState(this.entry);
    await store.remove(this.key);
    there.clear();
    this.hash = {of: new Sha256(), pieces: 0};
    if (!cannotTell) {
      throw new FileError(
        'changed',
        `${this.url} has changed on its server while it was downloaded: load it again, what was stored of it is deleted`,
        {url: this.url},
      );
    }
    this.entry = {...this.entry, stamp: freshStamp(), isComplete: false, sha256: null};
    await writeEntry(store, this.key, this.entry);
  }

  private async keep(index: number, piece: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
    await seal(piece, this.entry.stamp);
    await storing(this.options, this.url, () => this.store.write(this.key, `${index}`, piece));
    const bytes = piece.subarray(0, piece.byteLength - SEAL_BYTES);
    if ((this.options.sha256 ?? null) !== null && this.hash.pieces === index) {
      this.hash.of.update(bytes);
      this.hash.pieces++;
    }
    return bytes;
  }

  /** Of the whole file; pieces that were not hashed when they came are read. */
  private async checksum(): Promise<string> {
    for (; this.hash.pieces < this.pieces; this.hash.pieces++) {
      this.options.signal?.throwIfAborted();
      const index = this.hash.pieces;
      this.hash.of.update((await this.storedPiece(index)) ?? (await this.replace(index)));
    }
    return this.hash.of.digest();
  }

  private async lockIfNeeded(): Promise<void> {
    const {onNotice, signal} = this.options;
    this.release ??= await lock(
      `tfjs-sparsify:${this.key}`,
      () => onNotice?.(`${this.url} is being downloaded by another tab or call: waiting for it`),
      signal,
    );
  }

  private tell(count: number, isFromCache: boolean): void {
    this.told += count;
    if (count > 0) this.options.onBytes?.(count, isFromCache);
  }

  private unlock(): void {
    this.release?.();
    this.release = null;
  }
}

/**
 * Stores bytes of a file whose size is known only at its end, as of one that is compressed on the way.
 *
 * @returns Its size.
 */
async function receiveWhole(
  key: string,
  {url, stamp}: CachedEntry,
  answer: RangeAnswer,
  options: WebFileOptions,
): Promise<number> {
  const reader = new PieceReader(answer, url);
  let size = 0;
  for (let index = 0; ; index++) {
    options.signal?.throwIfAborted();
    const piece = await reader.upTo(PIECE_BYTES);
    const length = piece.byteLength - SEAL_BYTES;
    if (length === 0) return size;
    await seal(piece, stamp);
    await storing(options, url, () => options.store.write(key, `${index}`, piece));
    options.onBytes?.(length, false);
    size += length;
  }
}

/** Whether a file is stored whole, and has no other checksum than it must have. */
function isUsable(
  entry: CachedEntry | null,
  sha256: string | null | undefined,
): entry is CachedEntry & {readonly size: number} {
  if (entry === null || entry.isAbsent || !entry.isComplete || !isSized(entry)) return false;
  return (sha256 ?? null) === null || entry.sha256 === null || entry.sha256 === sha256;
}

/** The pieces of a broken-off download that are whole: a tab may have ended while it wrote one. */
async function wholePieces(
  store: PieceStore,
  key: string,
  {size, stamp}: CachedEntry & {readonly size: number},
): Promise<Set<number>> {
  const whole = new Set<number>();
  for (const index of await storedPieces(store, key)) {
    const sealed = index * PIECE_BYTES < size ? await store.read(key, `${index}`) : null;
    const length = Math.min(PIECE_BYTES, size - index * PIECE_BYTES);
    if (sealed !== null && (await unseal(sealed, stamp, length)) !== null) whole.add(index);
  }
  return whole;
}

/** The entry if the file is stored whole and is the one that is wanted. */
async function usable(
  entry: CachedEntry | null,
  url: string,
  {sha256 = null, refresh = false, authorization = null, onNotice, signal, silenceMs}: WebFileOptions,
): Promise<(CachedEntry & {readonly size: number}) | null> {
  if (!isUsable(entry, null)) return null;
  if (!isUsable(entry, sha256)) {
    onNotice?.(`what is stored of ${url} has another checksum: it is downloaded again`);
    return null;
  }
  if (!refresh) return entry;
  try {
    const answer = await requestRange({url, authorization, start: 0, end: 1, state: null, signal, silenceMs});
    answer.cancel();
    if (isSame(entry, answer)) return entry;
    onNotice?.(`${url} has changed since it was stored: it is downloaded again`);
    return null;
  } catch (error) {
    if (!(error instanceof FileError && PASSING.has(error.code))) throw error;
    onNotice?.(`whether ${url} has changed cannot be asked (${error.message}): what is stored is used`);
    return entry;
  }
}

/**
 * Repeats a request as long as it fails in a way that may pass, waiting longer each time.
 *
 * @param step Is given what it calls when something came, after which failures count anew.
 */
async function patiently<T>(
  {retryMs = RETRY_MS, signal}: WebFileOptions,
  step: (progress: () => void) => Promise<T>,
  passing: ReadonlySet<string>,
): Promise<T> {
  for (let vain = 0; ;) {
    try {
      return await step(() => (vain = 0));
    } catch (error) {
      signal?.throwIfAborted();
      vain++;
      if (!(error instanceof FileError && passing.has(error.code)) || vain >= MAX_VAIN_REQUESTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, retryMs * vain));
      signal?.throwIfAborted();
    }
  }
}

async function storing(options: WebFileOptions, url: string, step: () => Promise<void>): Promise<void> {
  try {
    await step();
  } catch (cause) {
    if (!(cause instanceof DOMException && cause.name === 'QuotaExceededError')) throw cause;
    throw storageFull(url, null, await options.store.freeBytes(), cause);
  }
}

/**
 * The error for what does not fit into a storage.
 *
 * @param needed Bytes; null where only the storage knows.
 */
export function storageFull(
  what: string,
  needed: number | null,
  free: number | null,
  cause?: unknown,
): FileError {
  const missing = needed === null || free === null ? null : needed - free;
  return new FileError(
    'storage-full',
    `the storage of this browser has no room for ${what}: ` +
      (missing === null
        ? ''
        : `${needed} bytes are to be stored, ${free} are free, ${missing} are missing; `) +
      'delete stored models that are not needed (deleteCachedModel), or free space on the device',
    {what, needed, free, missing},
    {cause},
  );
}

function isSized(entry: CachedEntry): entry is CachedEntry & {readonly size: number} {
  return entry.size !== null;
}

function hasNoState({etag, lastModified}: FileState): boolean {
  return etag === null && lastModified === null;
}

function firstGap(there: ReadonlySet<number>): number {
  let index = 0;
  while (there.has(index)) index++;
  return index;
}

/** The first piece behind `index` that is stored, else the end. */
function nextStored(index: number, there: ReadonlySet<number>, pieces: number): number {
  let next = index + 1;
  while (next < pieces && !there.has(next)) next++;
  return next;
}
