/** @file The best storage that this browser has for downloaded models. */
import {CacheStore} from './cache-store.js';
import {OpfsStore} from './opfs-store.js';
import {MemoryStore, type PieceStore} from './piece-store.js';

/** One for the whole page, so that what was loaded once is there while the page is. */
const MEMORY = new MemoryStore();

let found: Promise<PieceStore> | undefined;

/** The origin-private file system, else the Cache API, else memory. */
export function deviceStore(): Promise<PieceStore> {
  found ??= find();
  return found;
}

async function find(): Promise<PieceStore> {
  return (await OpfsStore.open()) ?? (await CacheStore.open()) ?? MEMORY;
}
