/** @file SHA-256 of the files that make a model, so that a result can say what it was made from. */
import {readdir, stat} from 'node:fs/promises';
import {dirname, join} from 'node:path';
import {readText} from '../files/read-text.js';
import {hashFile, type HashedFile} from '../files/file-hash.js';
import {parseModelJson, type WeightsGroup} from './model-json.js';

/** Files of a checkpoint: what loading reads. */
const CHECKPOINT_FILE =
  /^(config|generation_config|tokenizer|tokenizer_config|model\.safetensors\.index)\.json$|\.safetensors$|\.gguf$/i;

/**
 * Hashes the files of a model: `model.json` and its weights, whose checksums are taken from there where it has them; a
 * GGUF file; or those of a Hugging Face folder. Of a URL nothing is known: the result is empty.
 *
 * @param path As the command line takes a model.
 * @throws {FileError} if a file cannot be read.
 */
export async function hashModel(path: string): Promise<HashedFile[]> {
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(path)) return [];
  const isFolder = (await stat(path).catch(() => null))?.isDirectory() === true;
  if (!isFolder) return /\.json$/i.test(path) ? hashLayersModel(path) : [await hashFile(path)];
  const names = await readdir(path);
  if (names.includes('model.json')) return hashLayersModel(join(path, 'model.json'));
  const files: HashedFile[] = [];
  for (const name of names.filter((name) => CHECKPOINT_FILE.test(name)).sort()) {
    files.push(await hashFile(join(path, name)));
  }
  return files;
}

async function hashLayersModel(jsonPath: string): Promise<HashedFile[]> {
  const files = [await hashFile(jsonPath)];
  const {weightsManifest} = parseModelJson(await readText(jsonPath), jsonPath);
  for (const {paths, sha256} of weightsManifest as WeightsGroup[]) {
    for (const [i, name] of paths.entries()) {
      const path = join(dirname(jsonPath), name);
      // Loading holds the weights against this checksum.
      if (sha256 === undefined) files.push(await hashFile(path));
      else files.push({name, bytes: (await stat(path)).size, sha256: sha256[i]});
    }
  }
  return files;
}
