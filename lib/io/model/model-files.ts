/** @file Loading and saving LayersModels by path or URL, on every backend, with errors that say what to do. */

import {randomBytes} from 'node:crypto';
import {constants} from 'node:fs';
import {access, rmdir, stat} from 'node:fs/promises';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';

import type * as tf from '@tensorflow/tfjs';

import {FileError} from '../../errors.js';
import {checkActivations, checkWeights} from '../../model/savable.js';
import {SIGNAL, checkOptions, type OptionRules} from '../../option-rules.js';
import {fileFailure} from '../files/file-failure.js';
import {FILE_SYSTEM_RULES, modelJsonPath, openLocalModel, type FileSystemOptions} from './file-system.js';
import {openHttpModel} from './http-model.js';
import {makeFolder} from '../files/make-folder.js';
import {modelDescription, namedWeights, weightSpecs} from './model-description.js';
import {checkReplaceable, writeModel} from './model-writer.js';
import {streamedModel} from './streamed-model.js';
import {withoutCredentials} from '../files/url-credentials.js';
import {tensorBytes} from './weight-tensors.js';

/**
 * Loads a LayersModel, one weight at a time: it takes its own memory and little more, whatever its size, and shards
 * with a checksum in the manifest are held against it. Layers of one's own, `SparsifyingDense` too, must be registered before.
 *
 * @param pathOrUrl A `model.json`, a folder with one, a `file://` URL (also with a relative path, as
 *     TensorFlow.js writes it), or an http(s) URL of a `model.json`.
 * @returns The model with its weights and its user-defined metadata, owned by the caller.
 * @throws FileError if the files cannot be read or are not a LayersModel's (`fileSystem`), a shard is damaged
 *     (`checksum-mismatch`), a server does not give them (`unreachable`, `http-status`), or `unsupported-scheme` for another kind of URL.
 * @throws ModelError `unknown-layer`, `weights-mismatch` or `malformed-topology` if TensorFlow.js cannot build
 *     the model that they describe.
 * @example
 * const model = await loadLayersModel('models/digits/model.json');
 */
export async function loadLayersModel(pathOrUrl: string): Promise<tf.LayersModel> {
  const source = /^https?:\/\//i.test(pathOrUrl)
    ? await openHttpModel(pathOrUrl)
    : await openLocalModel(localPath(pathOrUrl));
  return streamedModel(source);
}

/** How `saveLayersModel` writes. */
export interface SaveOptions extends FileSystemOptions {
  /** Stops between two pieces of the weights: the promise rejects with the signal's reason, and an older model is whole. */
  readonly signal?: AbortSignal;
}

export const SAVE_RULES: OptionRules<SaveOptions> = {...FILE_SYSTEM_RULES, signal: SIGNAL};

/**
 * Checks that `saveLayersModel` could write to a path, as far as that shows beforehand: for use before long work
 * whose result goes there. Writes nothing.
 *
 * @param path As for `saveLayersModel`.
 * @throws FileError `unsupported-scheme`, `not-a-folder`, `no-permission` …
 */
export async function checkSavePath(path: string): Promise<void> {
  const jsonPath = modelJsonPath(localPath(path));
  await checkReplaceable(jsonPath);
  let folder = dirname(jsonPath);
  for (;;) {
    try {
      if (!(await stat(folder)).isDirectory()) {
        throw new FileError('not-a-folder', `${folder} is a file: name a folder for the model`, {
          path: folder,
        });
      }
      await access(folder, constants.W_OK);
      break;
    } catch (cause) {
      if (!(cause instanceof Error && 'code' in cause && cause.code === 'ENOENT')) {
        throw fileFailure(folder, cause);
      }
      folder = dirname(folder); // it would be made in this one
    }
  }
  const probe = join(folder, `.${process.pid}-${randomBytes(4).toString('hex')}`);
  try {
    await makeFolder(probe); // some file systems take none, whatever the permissions say
    await rmdir(probe);
  } catch (cause) {
    throw fileFailure(folder, cause);
  }
}

/**
 * Saves a LayersModel on any backend, one weight in memory at a time. An older model in the same place is
 * replaced in one step: a kill or a full disk leaves it whole.
 *
 * @param model The model; it stays usable. Its optimizer is not saved.
 * @param path A folder for `model.json` and its weights, made if it is missing, or the path of a `.json` file.
 * @param options How to write.
 * @returns What was written.
 * @throws ModelError `disposed-model`, or `duplicate-weight` if two weights have one name, since such a model
 *     could not be loaded again, `unsavable-activation`, or `unsavable-layer`; nothing is written then.
 * @throws FileError `not-a-model` if the file in its place is no model, `disk-full`, `no-permission` …
 */
export async function saveLayersModel(
  model: tf.LayersModel,
  path: string,
  options: SaveOptions = {},
): Promise<tf.io.SaveResult> {
  checkOptions('saveLayersModel', options, SAVE_RULES);
  const tensors = namedWeights(model.weights).map(({tensor}) => tensor);
  return saveWithWeights(
    model,
    path,
    {order: model.weights, pieces: bytesOf(tensors, options.signal)},
    options,
  );
}

/**
 * Saves a LayersModel whose weights' values come from elsewhere, while they are made: `saveLayersModel` for models
 * larger than the memory.
 *
 * @param model Its topology and metadata are read once all values are written.
 * @param weights `order`: all of `model.weights` in any order, of which names, shapes and dtypes count; `pieces`: their
 *   bytes in that order, cut anywhere, asked for one by one.
 * @throws As `saveLayersModel`, and what `pieces` throws.
 */
export async function saveWithWeights(
  model: tf.LayersModel,
  path: string,
  {order, pieces}: {readonly order: readonly tf.LayerVariable[]; readonly pieces: AsyncIterable<Uint8Array>},
  {maxShardBytes}: FileSystemOptions = {},
): Promise<tf.io.SaveResult> {
  checkActivations(model);
  checkWeights(model);
  const specs = weightSpecs(order);
  const jsonPath = modelJsonPath(localPath(path));
  const describe = () => modelDescription(model);
  return writeModel(jsonPath, describe, {specs, pieces}, maxShardBytes);
}

/** The path that a path or a file:// URL means. */
function localPath(pathOrUrl: string): string {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(pathOrUrl)?.[1].toLowerCase();
  if (scheme === undefined) return pathOrUrl;
  if (scheme !== 'file') {
    throw new FileError(
      'unsupported-scheme',
      `${withoutCredentials(pathOrUrl)}: "${scheme}" is not supported; give a local path, a file:// URL, or to load an http(s) URL`,
      {path: withoutCredentials(pathOrUrl), scheme},
    );
  }
  const path = pathOrUrl.slice('file://'.length);
  // TensorFlow.js writes relative paths too ('file://out'), which are no valid file URLs.
  return path.startsWith('/') ? fileURLToPath(pathOrUrl) : path;
}

async function* bytesOf(
  tensors: readonly tf.Tensor[],
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  signal?.throwIfAborted();
  for (const tensor of tensors) {
    for await (const piece of tensorBytes(tensor)) {
      yield piece;
      signal?.throwIfAborted();
    }
  }
}
