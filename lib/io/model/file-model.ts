/** @file A saved model of which each file can be opened: behind a URL through a storage, or given to a page. */
import {FileError} from '../../errors.js';
import {decodeText} from '../files/decode-text.js';
import type {RandomAccess} from '../files/random-access.js';
import {Sha256} from '../files/sha256.js';
import {fromKeras3} from './keras3/model-json.js';
import {MAX_MODEL_JSON_BYTES, checkWeightsSize, parseModelJson, type WeightsGroup} from './model-json.js';
import type {ModelSource, ShardStream} from './model-source.js';

/** The files of a model. */
export interface ModelFiles extends Pick<ModelSource, 'shardName'> {
  /** Bytes of a shard by its path in the manifest. */
  sizeOf(path: string, sha256: string | null): Promise<number>;
  /** Opens a shard, and says whether it was held against its checksum. */
  open(path: string, sha256: string | null): Promise<{file: RandomAccess; isChecked: boolean}>;
}

/**
 * Reads the `model.json`, and nothing else.
 *
 * @param json The open file, which stays open.
 * @throws {FileError} as `parseModelJson`; {ModelError} as `fromKeras3`.
 */
export async function fileModel(json: RandomAccess, files: ModelFiles): Promise<ModelSource> {
  const {name, size} = json;
  if (size > MAX_MODEL_JSON_BYTES) {
    throw new FileError(
      'too-large',
      `${name} is ${size} bytes; a model.json holds no weights and ends at ${MAX_MODEL_JSON_BYTES}`,
      {path: name, size},
    );
  }
  const parsed = parseModelJson(decodeText(await json.read(0, size, 'the description'), name), name);
  const checksums = new Map(
    (parsed.weightsManifest as WeightsGroup[]).flatMap(({paths, sha256}) =>
      paths.map((path, i) => [path, sha256?.[i] ?? null] as const),
    ),
  );
  return {
    name,
    json: await fromKeras3(parsed, name),
    shardName: (path) => files.shardName(path),
    openShard: async (path) => streamOf(await files.open(path, checksums.get(path) ?? null)),
    createHash: () => new Sha256(),
  };
}

/**
 * Holds the sizes of all shards against the manifest.
 *
 * @throws {FileError} `weights-mismatch`; what `files.sizeOf` throws.
 */
export async function checkShards({name, json}: ModelSource, files: ModelFiles): Promise<void> {
  for (const group of json.weightsManifest as WeightsGroup[]) {
    let found = 0;
    for (const [i, path] of group.paths.entries())
      found += await files.sizeOf(path, group.sha256?.[i] ?? null);
    checkWeightsSize(group, found, name);
  }
}

/** The bytes of a file from front to back. */
export function streamOf({file, isChecked}: Awaited<ReturnType<ModelFiles['open']>>): ShardStream {
  let position = 0;
  return {
    read: async (target) => {
      const length = Math.min(target.byteLength, file.size - position);
      await file.readInto(target.subarray(0, length), position, 'the weights');
      position += length;
      return length;
    },
    close: () => file.close(),
    isChecked,
  };
}
