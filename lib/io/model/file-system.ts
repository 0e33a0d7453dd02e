/**
 * @file Models on the local disk, for every backend: TensorFlow.js itself reads and writes files only with
 * tfjs-node, where `save('file://')` replaces the old model file by file and ends the process over 2 GiB.
 */

import {createHash} from 'node:crypto';
import {open, readFile, stat} from 'node:fs/promises';
import {dirname, join} from 'node:path';

import type {io} from '@tensorflow/tfjs';

import {FileError} from '../../errors.js';
import {checkTopology} from '../../model/savable.js';
import {decodeText} from '../files/decode-text.js';
import {fileFailure} from '../files/file-failure.js';
import {fromKeras3} from './keras3/model-json.js';
import {modelArtifacts} from './model-artifacts.js';
import {checkWeightsSize, MAX_MODEL_JSON_BYTES, parseModelJson} from './model-json.js';
import {checkOptions, count, type OptionRules} from '../../option-rules.js';
import type {ModelSource, ShardStream} from './model-source.js';
import {writeModel} from './model-writer.js';
import {MAX_SHARD_BYTES} from './shard-writer.js';

/** How `fileSystem` writes. */
export interface FileSystemOptions {
  /** No weight file gets larger than this; 1 GiB by default. */
  readonly maxShardBytes?: number;
}

export const FILE_SYSTEM_RULES: OptionRules<FileSystemOptions> = {maxShardBytes: count()};

/** An `io.IOHandler` that both loads and saves. */
export type FileSystemHandler = Required<Pick<io.IOHandler, 'load' | 'save'>>;

/**
 * A handler for models on the local disk.
 *
 * `load` rejects with `FileError`: `missing-file`, `malformed-json`, `graph-model`, `not-a-model`,
 * `malformed-manifest`, `unsafe-path`, `forbidden-key`, `missing-shard`, `weights-mismatch`, `checksum-mismatch`.
 * `save` replaces an older model in one step and leaves other files alone; it rejects with `ModelError`
 * `unsavable-activation` for a model that could not be loaded again.
 *
 * @param path A `model.json` (any name that ends in `.json`) or the folder with one.
 * @param options How to write.
 * @returns What `tf.loadLayersModel` and `model.save` take.
 * @example
 * await model.save(fileSystem('out'));
 * const same = await tf.loadLayersModel(fileSystem('out'));
 */
export function fileSystem(path: string, options: FileSystemOptions = {}): FileSystemHandler {
  checkOptions('fileSystem', options, FILE_SYSTEM_RULES);
  const {maxShardBytes = MAX_SHARD_BYTES} = options;
  const jsonPath = modelJsonPath(path);
  return {
    load: async () => modelArtifacts(await openLocalModel(jsonPath)),
    save: (artifacts) => {
      const {weightSpecs = [], weightData = [], ...description} = artifacts;
      if (artifacts.modelTopology instanceof ArrayBuffer) {
        throw new FileError('graph-model', 'a GraphDef cannot be saved as a LayersModel', {path: jsonPath});
      }
      checkTopology(artifacts.modelTopology ?? {});
      const buffers = Array.isArray(weightData) ? weightData : [weightData];
      const pieces = buffers.map((buffer) => new Uint8Array(buffer)); // views, not copies
      return writeModel(jsonPath, description, {specs: weightSpecs, pieces}, maxShardBytes);
    },
  };
}

/** The model.json that a path means: itself, or the one in the folder. */
export function modelJsonPath(path: string): string {
  return path.toLowerCase().endsWith('.json') ? path : join(path, 'model.json');
}

/**
 * Opens a model on the disk.
 *
 * @param path As for `fileSystem`.
 * @returns The model, once its files are known to have the sizes that the manifest needs.
 * @throws FileError as `load` of `fileSystem`.
 */
export async function openLocalModel(path: string): Promise<ModelSource> {
  const jsonPath = modelJsonPath(path);
  const json = await fromKeras3(parseModelJson(await readModelJson(jsonPath), jsonPath), jsonPath);
  const shardName = (shard: string) => join(dirname(jsonPath), shard);
  for (const group of json.weightsManifest) {
    const sizes = await Promise.all(group.paths.map((shard) => shardSize(shardName(shard), jsonPath)));
    checkWeightsSize(
      group,
      sizes.reduce((sum, size) => sum + size, 0),
      jsonPath,
    );
  }
  return {
    name: jsonPath,
    json,
    shardName,
    openShard: (shard) => openShard(shardName(shard)),
    createHash: () => createHash('sha256'),
  };
}

async function readModelJson(path: string): Promise<string> {
  try {
    const {size} = await stat(path);
    if (size > MAX_MODEL_JSON_BYTES) {
      throw new FileError(
        'too-large',
        `${path} is ${size} bytes; a model.json holds no weights and ends at ${MAX_MODEL_JSON_BYTES}`,
        {path, size},
      );
    }
    return decodeText(await readFile(path), path);
  } catch (cause) {
    throw fileFailure(path, cause);
  }
}

async function shardSize(file: string, jsonPath: string): Promise<number> {
  try {
    return (await stat(file)).size;
  } catch (cause) {
    throw new FileError(
      'missing-shard',
      `${jsonPath} needs the weights in ${file}, which cannot be read: copy the .bin files together with the model.json`,
      {path: file, model: jsonPath},
      {cause},
    );
  }
}

async function openShard(path: string): Promise<ShardStream> {
  try {
    const file = await open(path);
    return {
      read: async (target) => {
        try {
          return (await file.read(target, 0, target.byteLength)).bytesRead; // continues where the last one ended
        } catch (cause) {
          throw fileFailure(path, cause);
        }
      },
      close: () => file.close(),
    };
  } catch (cause) {
    throw fileFailure(path, cause);
  }
}
