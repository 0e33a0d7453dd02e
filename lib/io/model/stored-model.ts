/**
 * @file A model that was made of a download, INT8 say, stored in a browser in the same pieces as downloads: the next load
 * takes its weights as they are.
 */
import type * as tf from '@tensorflow/tfjs';

import {FileError} from '../../errors.js';
import {decodeText} from '../files/decode-text.js';
import {bareUrl} from '../files/url-credentials.js';
import {entryName, readEntry, writeEntry, PIECE_BYTES, type CachedEntry} from '../web/cached-entry.js';
import {Sha256} from '../files/sha256.js';
import {lock} from '../web/locks.js';
import {PieceFile} from '../web/piece-file.js';
import {PieceReader} from '../web/piece-reader.js';
import type {PieceStore} from '../web/piece-store.js';
import {SEAL_BYTES, freshStamp, seal, unseal} from '../web/sealed-piece.js';
import {streamOf} from './file-model.js';
import {modelDescription, weightSpecs} from './model-description.js';
import {parseModelJson} from './model-json.js';
import type {ModelSource} from './model-source.js';
import {sizeOf} from '../../tensor-values.js';
import {tensorBytes} from './weight-tensors.js';

/** Beside the pieces. */
const MODEL_JSON = 'model.json';

export interface StoredModel {
  readonly source: ModelSource;
  /** Of all weights. */
  readonly bytes: number;
  /** Of the download that it was made of, if that was held against one. */
  readonly sha256: string | null;
}

/** What a stored model is of. */
export interface StoredModelPlace {
  readonly store: PieceStore;
  /** The address of the download, and how the model was made of it. */
  readonly id: string;
  /** What it is listed and deleted with. */
  readonly model: string;
}

/** Reads the description of a stored model; null if there is none, or its description is damaged. */
export async function readStoredModel({store, id, model}: StoredModelPlace): Promise<StoredModel | null> {
  const key = await entryName(id);
  const entry = await readEntry(store, key);
  if (entry === null || !entry.isComplete || entry.size === null) return null;
  const sealed = await store.read(key, MODEL_JSON);
  const text = sealed === null ? null : await unseal(sealed, entry.stamp, sealed.byteLength - SEAL_BYTES);
  if (text === null) return null;
  const file = new StoredFile(model, entry.size, store, key, entry.stamp);
  const source: ModelSource = {
    name: model,
    json: parseModelJson(decodeText(text, model), model),
    shardName: () => model,
    openShard: () => Promise.resolve(streamOf({file, isChecked: true})),
    createHash: () => new Sha256(),
  };
  return {source, bytes: entry.size, sha256: entry.sha256};
}

/**
 * Stores a model, one weight in memory at a time. What a tab that ends meanwhile leaves is not taken for a model.
 *
 * @param sha256 As of `StoredModel`.
 * @returns False if the storage has no room for it; nothing is left then.
 */
export async function writeStoredModel(
  {store, id, model: url}: StoredModelPlace,
  model: tf.LayersModel,
  sha256: string | null,
  signal?: AbortSignal,
): Promise<boolean> {
  const key = await entryName(id);
  const release = await lock(`tfjs-sparsify:${key}`, () => undefined, signal);
  try {
    await store.remove(key);
    const weights = weightSpecs(model.weights);
    const free = await store.freeBytes();
    const bytes = weights.reduce(
      (sum, {shape, dtype}) => sum + sizeOf(shape) * (dtype === 'bool' ? 1 : 4),
      0,
    );
    if (free !== null && bytes > free) return false;
    const stamp = freshStamp();
    const reader = new PieceReader(readerOf(weightBytes(model, signal)), url);
    let size = 0;
    for (let index = 0; ; index++) {
      const piece = await reader.upTo(PIECE_BYTES);
      const length = piece.byteLength - SEAL_BYTES;
      if (length === 0) break;
      await seal(piece, stamp);
      await store.write(key, `${index}`, piece);
      size += length;
    }
    const json = {...modelDescription(model), weightsManifest: [{paths: ['weights'], weights}]};
    const text = new TextEncoder().encode(JSON.stringify(json));
    const sealed = new Uint8Array(text.byteLength + SEAL_BYTES);
    sealed.set(text);
    await seal(sealed, stamp);
    await store.write(key, MODEL_JSON, sealed);
    const state = {size, etag: null, lastModified: null};
    const entry: CachedEntry = {
      ...{url: bareUrl(url), model: url, stamp, isComplete: true, isAbsent: false, sha256},
      ...state,
    };
    await writeEntry(store, key, entry);
    return true;
  } catch (error) {
    await store.remove(key);
    if (error instanceof DOMException && error.name === 'QuotaExceededError') return false;
    throw error;
  } finally {
    release();
  }
}

/** Deletes a stored model. */
export async function removeStoredModel({store, id}: StoredModelPlace): Promise<void> {
  await store.remove(await entryName(id));
}

class StoredFile extends PieceFile {
  protected readonly isStored = true;

  constructor(
    name: string,
    size: number,
    store: PieceStore,
    key: string,
    protected readonly stamp: string,
  ) {
    super(name, size, store, key);
  }

  protected replace(): Promise<never> {
    return Promise.reject(
      new FileError('damaged-cache', `what is stored of ${this.name} is missing or damaged: load it again`, {
        url: this.name,
      }),
    );
  }
}

async function* weightBytes(
  model: tf.LayersModel,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (const variable of model.weights) {
    signal?.throwIfAborted();
    yield* tensorBytes(variable.read());
  }
}

function readerOf(pieces: AsyncGenerator<Uint8Array, void, undefined>): {read(): Promise<Uint8Array | null>} {
  return {
    read: async () => {
      const next = await pieces.next();
      return next.done === true ? null : next.value;
    },
  };
}
