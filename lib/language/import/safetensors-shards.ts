/** @file Which safetensors files a checkpoint's folder has: one, or the shards of `model.safetensors.index.json`. */
import {FileError, ModelError} from '../../errors.js';
import type {FileFolder} from '../../io/files/file-folder.js';
import type {RandomAccess} from '../../io/files/random-access.js';
import {isJsonObject, readJsonFile} from './json-file.js';
import {safetensorsFile, type SafetensorsFile} from './safetensors.js';

const INDEX = 'model.safetensors.index.json';
/** The largest checkpoints have 191 shards; every shard is kept open. */
const MAX_SHARDS = 1000;

/**
 * Opens all files of weights in a folder.
 *
 * @returns The file of every tensor, by the tensor's name, and all files, which the caller closes.
 * @throws {FileError} If there are none that can be read, or one is missing.
 * @throws {ModelError} If they are malformed or contradict each other or their index.
 */
export async function openShards(
  folder: FileFolder,
): Promise<{fileOf: Map<string, SafetensorsFile>; files: SafetensorsFile[]}> {
  const names = await folder.list();
  const index =
    names.includes(INDEX) && !names.includes('model.safetensors') ? await readIndex(folder) : null;
  const shards = index === null ? [singleFile(folder, names)] : [...new Set(index.values())].sort();
  const files: SafetensorsFile[] = [];
  try {
    const fileOf = new Map<string, SafetensorsFile>();
    for (const shard of shards) {
      const file = await safetensorsFile(await openShard(folder, shard));
      files.push(file);
      for (const name of file.entries.keys()) {
        const other = fileOf.get(name);
        if (other !== undefined) {
          throw new ModelError(
            'duplicate-tensor',
            `tensor "${name}" is in both ${other.path} and ${file.path}: download the checkpoint again`,
            {tensor: name, paths: [other.path, file.path]},
          );
        }
        fileOf.set(name, file);
      }
    }
    for (const [name, shard] of index ?? []) {
      if (fileOf.get(name)?.path === folder.pathOf(shard)) continue;
      throw new ModelError(
        'missing-tensor',
        `${INDEX} says that tensor "${name}" is in ${shard}, which does not have it: download both again`,
        {tensor: name, path: folder.pathOf(shard)},
      );
    }
    return {fileOf, files};
  } catch (error) {
    for (const file of files) await file.close();
    throw error;
  }
}

/** The shard of every tensor. */
async function readIndex(folder: FileFolder): Promise<Map<string, string>> {
  const path = folder.pathOf(INDEX);
  const {weight_map: weightMap} = await readJsonFile(folder, INDEX);
  if (!isJsonObject(weightMap)) {
    throw new ModelError('malformed-index', `${path} has no object "weight_map": download it again`, {path});
  }
  const shards = new Map<string, string>();
  for (const [name, shard] of Object.entries(weightMap)) {
    if (typeof shard !== 'string' || !/^[^/\\\0:]+\.safetensors$/.test(shard)) {
      throw new ModelError(
        'unsafe-path',
        `${path} places tensor "${name.slice(0, 200)}" in ${describe(shard)}; it must be the name of a .safetensors file in the same folder`,
        {path, tensor: name},
      );
    }
    shards.set(name, shard);
  }
  const count = new Set(shards.values()).size;
  if (count >= 1 && count <= MAX_SHARDS) return shards;
  throw new ModelError(
    'malformed-index',
    `${path} lists ${count} files; 1 to ${MAX_SHARDS} are read: download it again`,
    {path, count},
  );
}

function singleFile(folder: FileFolder, names: readonly string[]): string {
  const found = names.filter((name) => name.endsWith('.safetensors'));
  if (found.includes('model.safetensors')) return 'model.safetensors';
  if (found.length === 1) return found[0];
  if (found.length > 1) {
    throw new FileError(
      'missing-file',
      `${folder.name} has ${found.length} .safetensors files but no ${INDEX} that says what is where: download that too`,
      {path: folder.pathOf(INDEX)},
    );
  }
  const pickled = names.find((name) => /\.(bin|pt|pth)$/.test(name));
  throw new FileError(
    pickled === undefined ? 'missing-file' : 'unsupported-format',
    pickled === undefined
      ? `${folder.name} has no .safetensors file: name the folder of a Hugging Face checkpoint`
      : `${folder.name} has weights only as ${pickled}, which can run code when it is read: convert them to safetensors ` +
          '(in Python: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)), or download a revision that has them',
    {path: folder.name},
  );
}

async function openShard(folder: FileFolder, shard: string): Promise<RandomAccess> {
  try {
    return await folder.open(shard);
  } catch (cause) {
    if (!(cause instanceof FileError && cause.code === 'missing-file')) throw cause;
    throw new FileError(
      'missing-file',
      `${folder.pathOf(shard)} does not exist, but ${INDEX} places tensors in it: download it too`,
      {path: folder.pathOf(shard)},
      {cause},
    );
  }
}

function describe(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 200)) : `a ${typeof value}`;
}
