/** @file Which safetensors files a checkpoint's folder has: one, or the shards of `model.safetensors.index.json`. */
import {readdir} from 'node:fs/promises';
import {join} from 'node:path';

import {FileError, ModelError} from '../../errors.js';
import {fileFailure} from '../../io/files/file-failure.js';
import {isJsonObject, readJsonFile} from './json-file.js';
import {openSafetensors, type SafetensorsFile} from './safetensors.js';

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
  dir: string,
): Promise<{fileOf: Map<string, SafetensorsFile>; files: SafetensorsFile[]}> {
  const names = await listFolder(dir);
  const index = names.includes(INDEX) && !names.includes('model.safetensors') ? await readIndex(dir) : null;
  const shards = index === null ? [singleFile(dir, names)] : [...new Set(index.values())].sort();
  const files: SafetensorsFile[] = [];
  try {
    const fileOf = new Map<string, SafetensorsFile>();
    for (const shard of shards) {
      if (!names.includes(shard)) throw missingShard(dir, shard);
      const file = await openSafetensors(join(dir, shard));
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
      if (fileOf.get(name)?.path === join(dir, shard)) continue;
      throw new ModelError(
        'missing-tensor',
        `${INDEX} says that tensor "${name}" is in ${shard}, which does not have it: download both again`,
        {tensor: name, path: join(dir, shard)},
      );
    }
    return {fileOf, files};
  } catch (error) {
    for (const file of files) await file.close();
    throw error;
  }
}

async function listFolder(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch (cause) {
    throw fileFailure(dir, cause);
  }
}

/** The shard of every tensor. */
async function readIndex(dir: string): Promise<Map<string, string>> {
  const path = join(dir, INDEX);
  const {weight_map: weightMap} = await readJsonFile(path);
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

function singleFile(dir: string, names: readonly string[]): string {
  const found = names.filter((name) => name.endsWith('.safetensors'));
  if (found.includes('model.safetensors')) return 'model.safetensors';
  if (found.length === 1) return found[0];
  if (found.length > 1) {
    throw new FileError(
      'missing-file',
      `${dir} has ${found.length} .safetensors files but no ${INDEX} that says what is where: download that too`,
      {path: join(dir, INDEX)},
    );
  }
  const pickled = names.find((name) => /\.(bin|pt|pth)$/.test(name));
  throw new FileError(
    pickled === undefined ? 'missing-file' : 'unsupported-format',
    pickled === undefined
      ? `${dir} has no .safetensors file: name the folder of a Hugging Face checkpoint`
      : `${dir} has weights only as ${pickled}, which can run code when it is read: convert them to safetensors ` +
          '(in Python: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)), or download a revision that has them',
    {path: dir},
  );
}

function missingShard(dir: string, shard: string): FileError {
  return new FileError(
    'missing-file',
    `${join(dir, shard)} does not exist, but ${INDEX} places tensors in it: download it too`,
    {path: join(dir, shard)},
  );
}

function describe(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 200)) : `a ${typeof value}`;
}
