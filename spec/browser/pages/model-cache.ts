/** @file What the specs of stored models do in a page or a worker: downloads with the browser's own storages. */
import {PIECE_BYTES} from '../../../lib/io/web/cached-entry.js';
import {CacheStore} from '../../../lib/io/web/cache-store.js';
import {deviceStore} from '../../../lib/io/web/device-store.js';
import {OpfsStore} from '../../../lib/io/web/opfs-store.js';
import type {PieceStore} from '../../../lib/io/web/piece-store.js';
import {WebFile} from '../../../lib/io/web/web-file.js';
import {SparsifyError} from '../../../lib/errors.js';
import {storeContract} from '../../support/io/store-contract.js';

type Kind = 'opfs' | 'cache-api';

/** How a download ended. */
export interface Outcome {
  /** SHA-256 of all bytes that were read; null on an error. */
  readonly sha256: string | null;
  readonly downloaded: number;
  readonly cached: number;
  readonly notices: readonly string[];
  /** Code and message. */
  readonly error: readonly [string, string] | null;
}

async function storeOf(kind: Kind): Promise<PieceStore> {
  const store = kind === 'opfs' ? await OpfsStore.open() : await CacheStore.open();
  if (store === null) throw new Error(`this browser has no ${kind}`);
  return store;
}

/** Empties a storage. */
export async function clear(kind: Kind): Promise<void> {
  const store = await storeOf(kind);
  for (const entry of await store.entries()) await store.remove(entry);
}

/** As `storeContract`, after emptying it. */
export async function contract(kind: Kind): Promise<Readonly<Record<string, unknown>>> {
  await clear(kind);
  return storeContract(await storeOf(kind));
}

/** Which storage a page takes that lacks these. */
export async function chosen(without: readonly string[]): Promise<string> {
  if (without.includes('opfs')) {
    Object.defineProperty(StorageManager.prototype, 'getDirectory', {value: undefined, configurable: true});
  }
  if (without.includes('cache-api')) {
    Object.defineProperty(globalThis, 'caches', {value: undefined, configurable: true});
  }
  return (await deviceStore()).kind;
}

/** Downloads a file, or takes it from the storage, and reads all of it. */
export async function load(path: string, kind: Kind): Promise<Outcome> {
  const outcome = {downloaded: 0, cached: 0, notices: [] as string[]};
  const url = new URL(path, location.origin).href;
  try {
    const file = await WebFile.open(url, {
      store: await storeOf(kind),
      model: url,
      retryMs: 1,
      onBytes: (count, isFromCache) => (outcome[isFromCache ? 'cached' : 'downloaded'] += count),
      onNotice: (text) => outcome.notices.push(text),
    });
    try {
      await file.complete();
      const bytes = await file.read(0, file.size, 'all of it');
      const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
      const sha256 = [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
      return {...outcome, sha256, error: null};
    } finally {
      await file.close();
    }
  } catch (error) {
    if (!(error instanceof SparsifyError)) throw error;
    return {...outcome, sha256: null, error: [error.code, error.message]};
  }
}

/** How many pieces of all files are stored, the one that is being written too. */
export async function storedPieces(kind: Kind): Promise<number> {
  const store = await storeOf(kind);
  let count = 0;
  for (const entry of await store.entries()) {
    count += (await store.names(entry)).filter((name) => /^\d+$/.test(name)).length;
  }
  return count;
}

/** Turns a bit of a stored piece of the only file. */
export async function damage(kind: Kind, piece: string): Promise<void> {
  const store = await storeOf(kind);
  const [entry] = await store.entries();
  const bytes = (await store.read(entry, piece))!;
  bytes[PIECE_BYTES >> 1] ^= 1;
  await store.write(entry, piece, bytes);
}
