/**
 * @file Models on the local disk, for every backend: TensorFlow.js itself reads and writes files only with
 * tfjs-node, where `save('file://')` replaces the old model file by file and ends the process over 2 GiB.
 */

import {open, readFile, stat} from 'node:fs/promises';
import {dirname, join} from 'node:path';

import {io} from '@tensorflow/tfjs';

import {FileError} from '../errors.js';
import {fileFailure} from './file-failure.js';
import {checkWeightsSize, MAX_MODEL_JSON_BYTES, parseModelJson, type WeightsGroup} from './model-json.js';
import {writeModel} from './model-writer.js';
import {MAX_SHARD_BYTES} from './shard-writer.js';

/** Longest single buffer read: a typed array ends at 4 GiB in Node 20. */
const READ_BYTES = 1024 ** 3;

/** How `fileSystem` writes. */
export interface FileSystemOptions {
  /** No weight file gets larger than this; 1 GiB by default. */
  readonly maxShardBytes?: number;
}

/** An `io.IOHandler` that both loads and saves. */
export type FileSystemHandler = Required<Pick<io.IOHandler, 'load' | 'save'>>;

/**
 * A handler for models on the local disk.
 *
 * `load` rejects with `FileError`: `missing-file`, `malformed-json`, `graph-model`, `not-a-model`,
 * `malformed-manifest`, `unsafe-path`, `forbidden-key`, `missing-shard`, `weights-mismatch`. `save` replaces
 * an older model in one step and leaves other files alone.
 *
 * @param path A `model.json` (any name that ends in `.json`) or the folder with one.
 * @param options How to write.
 * @returns What `tf.loadLayersModel` and `model.save` take.
 * @example
 * await model.save(fileSystem('out'));
 * const same = await tf.loadLayersModel(fileSystem('out'));
 */
export function fileSystem(
  path: string,
  {maxShardBytes = MAX_SHARD_BYTES}: FileSystemOptions = {},
): FileSystemHandler {
  const jsonPath = modelJsonPath(path);
  return {
    load: () => readModel(jsonPath),
    save: (artifacts) => {
      const {weightSpecs = [], weightData = [], ...description} = artifacts;
      if (artifacts.modelTopology instanceof ArrayBuffer) {
        throw new FileError('graph-model', 'a GraphDef cannot be saved as a LayersModel', {path: jsonPath});
      }
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

async function readModel(jsonPath: string): Promise<io.ModelArtifacts> {
  const json = parseModelJson(await readText(jsonPath), jsonPath);
  return io.getModelArtifactsForJSON(json, async (manifest) => {
    const weightData: ArrayBuffer[] = [];
    for (const group of manifest) weightData.push(...(await readGroup(jsonPath, group)));
    return [manifest.flatMap(({weights}) => weights), weightData];
  });
}

async function readText(path: string): Promise<string> {
  try {
    const {size} = await stat(path);
    if (size > MAX_MODEL_JSON_BYTES) {
      throw new FileError(
        'too-large',
        `${path} is ${size} bytes; a model.json holds no weights and ends at ${MAX_MODEL_JSON_BYTES}`,
        {path, size},
      );
    }
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw fileFailure(path, cause);
  }
}

/** The shards of one group, once their sizes are known to fit the manifest. */
async function readGroup(jsonPath: string, group: WeightsGroup): Promise<ArrayBuffer[]> {
  const files = group.paths.map((path) => join(dirname(jsonPath), path));
  const sizes = await Promise.all(files.map((file) => shardSize(file, jsonPath)));
  checkWeightsSize(
    group,
    sizes.reduce((sum, size) => sum + size, 0),
    jsonPath,
  );
  const buffers: ArrayBuffer[] = [];
  for (const [i, file] of files.entries()) buffers.push(...(await readShard(file, sizes[i])));
  return buffers;
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

async function readShard(path: string, size: number): Promise<ArrayBuffer[]> {
  try {
    const file = await open(path);
    try {
      const buffers: ArrayBuffer[] = [];
      for (let start = 0; start < size; start += READ_BYTES) {
        const buffer = new ArrayBuffer(Math.min(READ_BYTES, size - start));
        await fill(file, new Uint8Array(buffer), start, path);
        buffers.push(buffer);
      }
      return buffers;
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw fileFailure(path, cause);
  }
}

async function fill(
  file: Awaited<ReturnType<typeof open>>,
  target: Uint8Array,
  position: number,
  path: string,
): Promise<void> {
  for (let filled = 0; filled < target.byteLength;) {
    const {bytesRead} = await file.read(target, filled, target.byteLength - filled, position + filled);
    if (bytesRead === 0) {
      throw new FileError('weights-mismatch', `${path} became shorter while it was read`, {path});
    }
    filled += bytesRead;
  }
}
