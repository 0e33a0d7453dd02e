/** @file Checkpoints on the disk, by their paths. */
import {LocalFile} from '../../io/files/local-file.js';
import {localFolder} from '../../io/files/local-folder.js';
import type {Checkpoint} from '../weights/checkpoint.js';
import {ggufCheckpoint} from './gguf.js';
import {huggingFaceCheckpoint} from './huggingface-folder.js';

/**
 * Opens a GGUF file.
 *
 * @returns The checkpoint; close it when all is read.
 * @throws {FileError} If it cannot be opened; {ModelError} as `ggufCheckpoint`.
 */
export async function openGguf(path: string): Promise<Checkpoint> {
  return ggufCheckpoint(await LocalFile.open(path));
}

/**
 * Opens a Hugging Face folder.
 *
 * @returns The checkpoint; close it when all is read.
 * @throws {FileError} If a file is missing or is no JSON; {ModelError} as `huggingFaceCheckpoint`.
 * @example
 * const checkpoint = await openHuggingFaceFolder('./SmolLM2-135M-Instruct');
 * const norm = await checkpoint.read('model.norm.weight');
 */
export function openHuggingFaceFolder(path: string): Promise<Checkpoint> {
  return huggingFaceCheckpoint(localFolder(path));
}
