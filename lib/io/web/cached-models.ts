/** @file What of models is stored in this browser: listed and deleted by the URL that they were loaded from. */
import {PIECE_BYTES, readEntry, storedPieces} from './cached-entry.js';
import {deviceStore} from './device-store.js';
import {modelOf, plainAddress} from './model-download.js';
import type {PieceStore} from './piece-store.js';

/** A model of which files are stored. */
export interface CachedModel {
  /** As `deleteCachedModel` takes it: the URL that it was loaded from, without user, password and query. */
  readonly model: string;
  /** Their addresses. */
  readonly files: readonly string[];
  /** Stored, about: of the last piece of a file that is not whole the length is not looked at. */
  readonly bytes: number;
  /** Whether every file of which something is stored is whole. */
  readonly isComplete: boolean;
}

/**
 * Lists what is stored.
 *
 * @param store By default where `openLanguageModel` stores: the browser's file system, its cache, or this page's memory.
 * @example
 * for (const {model, bytes} of await listCachedModels()) console.log(model, bytes);
 */
export async function listCachedModels(store?: PieceStore): Promise<CachedModel[]> {
  const from = store ?? (await deviceStore());
  const models = new Map<string, {files: string[]; bytes: number; isComplete: boolean}>();
  for (const name of [...(await from.entries())].sort()) {
    const entry = await readEntry(from, name);
    if (entry === null) continue;
    const known = models.get(entry.model) ?? {files: [], bytes: 0, isComplete: true};
    const stored = (await storedPieces(from, name)).size * PIECE_BYTES;
    // Addresses that differ in their query are stored apart, and are one file here.
    if (!entry.isAbsent && !known.files.includes(entry.url)) known.files.push(entry.url);
    known.bytes += entry.size === null ? stored : Math.min(entry.size, stored);
    known.isComplete &&= entry.isComplete;
    models.set(entry.model, known);
  }
  return [...models].map(([model, {files, ...rest}]) => ({model, files: files.sort(), ...rest}));
}

/**
 * Deletes what is stored of a model; a tab that is loading it now fetches it again.
 *
 * @param model As `listCachedModels` names it or as it was loaded, in a page also relative to it; or undefined for all, also what an
 *   interrupted download left.
 * @returns How many files were deleted.
 * @throws {FileError} `bad-option` for what is no http or https URL.
 */
export async function deleteCachedModel(model?: string, store?: PieceStore): Promise<number> {
  const from = store ?? (await deviceStore());
  const wanted = model === undefined ? undefined : modelOf(plainAddress(model).url);
  let deleted = 0;
  for (const name of await from.entries()) {
    const entry = await readEntry(from, name);
    if (wanted !== undefined && entry?.model !== wanted) continue;
    await from.remove(name);
    deleted++;
  }
  return deleted;
}
