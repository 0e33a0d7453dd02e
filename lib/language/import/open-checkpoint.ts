/** @file One way in for every format of checkpoints: the path says which it is. */
import {readdir, stat} from 'node:fs/promises';
import {join} from 'node:path';

import {FileError} from '../../errors.js';
import {fileFailure} from '../../io/files/file-failure.js';
import type {Checkpoint} from '../weights/checkpoint.js';
import {openGguf, openHuggingFaceFolder} from './local-checkpoints.js';

/**
 * Opens a checkpoint.
 *
 * @param path A Hugging Face folder (`config.json` and safetensors), a `.gguf` file, or a folder with just one of these.
 * @returns The checkpoint; close it when all is read.
 * @throws {FileError} `missing-file`, `unsupported-format`, `malformed-json` …: what is wrong and what to do.
 * @throws {ModelError} If the files are damaged or hold a model of another family; it names file and tensor.
 * @example
 * const checkpoint = await openCheckpoint('SmolLM2-135M-Instruct.Q4_1.gguf');
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  if (!(await isFolder(path))) {
    if (path.toLowerCase().endsWith('.gguf')) return openGguf(path);
    throw new FileError(
      'unsupported-format',
      `${path} is no checkpoint that can be read: name a .gguf file, or the folder with config.json and .safetensors`,
      {path},
    );
  }
  const names = await readdir(path);
  if (names.includes('config.json')) return openHuggingFaceFolder(path);
  const ggufs = names.filter((name) => name.toLowerCase().endsWith('.gguf'));
  if (ggufs.length === 1) return openGguf(join(path, ggufs[0]));
  throw new FileError(
    ggufs.length > 1 ? 'ambiguous' : 'missing-file',
    ggufs.length > 1
      ? `${path} has ${ggufs.length} .gguf files; name one: ${ggufs.slice(0, 5).join(', ')}`
      : `${path} has neither config.json nor a .gguf file: name the folder of a Hugging Face checkpoint`,
    {path},
  );
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    throw fileFailure(path, cause);
  }
}
