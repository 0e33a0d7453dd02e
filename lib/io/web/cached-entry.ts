/**
 * @file What is known of a file that is stored in pieces, kept beside them: where it is from, which state of it, whether it
 * is whole. An entry that is not `complete` is gone on with, or started anew if the file is another by now.
 */
import {Check} from 'typebox/schema';
import type {FileState} from './http-range.js';
import {bareUrl} from '../files/url-credentials.js';
import type {PieceStore} from './piece-store.js';
import {digestText, freshStamp} from './sealed-piece.js';

/** Small enough that a damaged one costs little, large enough that a model of gigabytes has a few hundred. */
export const PIECE_BYTES = 4 * 1024 ** 2;

/** Name of this description among the pieces, which have numbers. */
const NAME = 'entry.json';
const VERSION = 1;

export interface CachedEntry extends FileState {
  /** Of the file, without user and password. */
  readonly url: string;
  /** Of the model that it was loaded for. */
  readonly model: string;
  /** What the pieces of this download are sealed with. */
  readonly stamp: string;
  readonly isComplete: boolean;
  /** Of the whole file, where it was held against one. */
  readonly sha256: string | null;
  /** Whether the server has no such file: remembered of a model that is whole, which needs no server then. */
  readonly isAbsent: boolean;
}

const TEXT = {type: 'string'} as const;
const TEXT_OR_NULL = {anyOf: [TEXT, {type: 'null'}]} as const;
const ENTRY = {
  type: 'object',
  required: [
    'version',
    'url',
    'model',
    'stamp',
    'isComplete',
    'sha256',
    'isAbsent',
    'size',
    'etag',
    'lastModified',
    'pieceBytes',
  ],
  properties: {
    version: {const: VERSION},
    pieceBytes: {const: PIECE_BYTES},
    url: TEXT,
    model: TEXT,
    stamp: {type: 'string', pattern: '^[0-9a-f]{32}$'},
    isComplete: {type: 'boolean'},
    isAbsent: {type: 'boolean'},
    sha256: TEXT_OR_NULL,
    etag: TEXT_OR_NULL,
    lastModified: TEXT_OR_NULL,
    size: {anyOf: [{type: 'integer', minimum: 0}, {type: 'null'}]},
  },
} as const;

/** Name of the entry of a URL. */
export async function entryName(url: string): Promise<string> {
  return (await digestText(new TextEncoder().encode(url))).slice(0, 40);
}

/** Reads the description; null if there is none, or none that this release wrote whole. */
export async function readEntry(store: PieceStore, name: string): Promise<CachedEntry | null> {
  const bytes = await store.read(name, NAME);
  if (bytes === null) return null;
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return Check(ENTRY, value) ? value : null;
  } catch {
    return null;
  }
}

export async function writeEntry(store: PieceStore, name: string, entry: CachedEntry): Promise<void> {
  const text = JSON.stringify({version: VERSION, pieceBytes: PIECE_BYTES, ...entry});
  await store.write(name, NAME, new TextEncoder().encode(text));
}

/** Remembers that the server of a model has no such file. */
export async function rememberAbsent(store: PieceStore, url: string, model: string): Promise<void> {
  await writeEntry(store, await entryName(url), {
    ...{url: bareUrl(url), model, stamp: freshStamp(), isComplete: true, isAbsent: true},
    ...{sha256: null, size: 0, etag: null, lastModified: null},
  });
}

/** The numbers of the pieces that are stored, whole or not. */
export async function storedPieces(store: PieceStore, name: string): Promise<Set<number>> {
  // Browsers put files of their own beside one that is written.
  return new Set((await store.names(name)).filter((each) => /^\d+$/.test(each)).map(Number));
}
