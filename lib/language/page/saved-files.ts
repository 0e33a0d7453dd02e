/**
 * @file A model as the files of a folder that `loadLanguageModel` takes, one weight in memory at a time: to be kept in the
 * browser's own file system, or downloaded.
 */
import type * as tf from '@tensorflow/tfjs';
import {FileError} from '../../errors.js';
import {modelDescription, weightSpecs} from '../../io/model/model-description.js';
import {checkActivations, checkWeights} from '../../model/savable.js';
import {valuesAs} from '../../tensor-values.js';

/** Hashing takes a whole file in memory: small ones, but few. */
const MAX_FILE_BYTES = 64 * 1024 ** 2;
const MODEL_JSON = 'model.json';

/** Where models lie in the browser's file system for this origin. */
const FOLDERS = ['tfjs-sparsify', 'models'];

/**
 * The files of a model, `model.json` last: until it is there, no model is.
 *
 * @throws {ModelError} as `saveLayersModel`; the signal's reason.
 */
export async function* savedFiles(model: tf.LayersModel, signal?: AbortSignal): AsyncGenerator<File> {
  checkActivations(model);
  checkWeights(model);
  const paths: string[] = [];
  const sha256: string[] = [];
  let pieces: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  const finish = async (): Promise<File> => {
    const hash = await sha256Of(pieces, bytes);
    const name =
      hash === null ? `model-weights-${paths.length + 1}.bin` : `model-weights-${hash.slice(0, 16)}.bin`;
    paths.push(name);
    if (hash !== null) sha256.push(hash);
    const file = new File(pieces, name, {type: 'application/octet-stream'});
    pieces = [];
    bytes = 0;
    return file;
  };
  for (const weight of model.weights) {
    signal?.throwIfAborted();
    const tensor = weight.read();
    const {buffer, byteOffset, byteLength} = valuesAs(tensor.dtype, await tensor.data());
    for (let start = 0; start < byteLength;) {
      const length = Math.min(MAX_FILE_BYTES - bytes, byteLength - start);
      // A copy: the backend may use its memory for other values before the file is full, and a File takes no shared memory.
      pieces.push(new Uint8Array(new Uint8Array(buffer, byteOffset + start, length)));
      bytes += length;
      start += length;
      if (bytes === MAX_FILE_BYTES) yield await finish();
    }
  }
  if (bytes > 0) yield await finish();
  signal?.throwIfAborted();
  const text = JSON.stringify({
    ...modelDescription(model),
    weightsManifest: [
      {
        paths,
        ...(sha256.length === 0 ? {} : {sha256}),
        weights: weightSpecs(model.weights),
      },
    ],
  });
  yield new File([text], MODEL_JSON, {type: 'application/json'});
}

/**
 * Writes a model to the browser's file system. An older one of the name is replaced once the new one is whole.
 *
 * @param name Of a folder; `/` and names that begin with a dot are not allowed.
 * @throws {FileError} `bad-name`, `no-file-system`, `disk-full`; as `savedFiles`. An older model is whole then.
 */
export async function writeToBrowser(
  model: tf.LayersModel,
  name: string,
  signal?: AbortSignal,
): Promise<void> {
  const folder = await folderOf(name, true);
  const written = new Set<string>();
  try {
    for await (const file of savedFiles(model, signal)) {
      await writeFile(folder, file);
      written.add(file.name);
    }
  } catch (cause) {
    if (!(cause instanceof DOMException && cause.name === 'QuotaExceededError')) throw cause;
    throw new FileError(
      'disk-full',
      `"${name}" was not saved: the browser gives this site no more room; remove other models, or compress this one first`,
      {name},
      {cause},
    );
  }
  for await (const other of folder.keys()) {
    if (!written.has(other)) await folder.removeEntry(other).catch(() => undefined); // others may have it open
  }
}

/**
 * The files of a model that `writeToBrowser` wrote.
 *
 * @throws {FileError} `missing-file` if there is none, `bad-name`, `no-file-system`.
 */
export async function readFromBrowser(name: string): Promise<File[]> {
  const missing = (cause: unknown) =>
    new FileError(
      'missing-file',
      `this browser holds no model called "${name}" for this site: save one with save('opfs://${name}')`,
      {name},
      {cause},
    );
  const files: File[] = [];
  try {
    const folder = await folderOf(name, false);
    for await (const handle of folder.values()) {
      if (handle.kind === 'file') files.push(await handle.getFile());
    }
  } catch (cause) {
    if (!(cause instanceof DOMException && cause.name === 'NotFoundError')) throw cause;
    throw missing(cause);
  }
  if (!files.some((file) => file.name === MODEL_JSON)) throw missing(undefined);
  return files;
}

async function folderOf(name: string, create: boolean): Promise<FileSystemDirectoryHandle> {
  if (name === '' || name.startsWith('.') || /[/\\]/.test(name)) {
    throw new FileError(
      'bad-name',
      `${JSON.stringify(name)} is no name for a model; write one without slashes, as in opfs://my-model`,
      {name},
    );
  }
  if (typeof navigator === 'undefined' || navigator.storage?.getDirectory === undefined) {
    throw new FileError(
      'no-file-system',
      'this browser has no file system for sites, or the page was not loaded over https: save to indexeddb://name, or take ' +
        'files() as a download',
    );
  }
  let folder = await navigator.storage.getDirectory();
  for (const part of [...FOLDERS, name]) folder = await folder.getDirectoryHandle(part, {create});
  return folder;
}

async function writeFile(folder: FileSystemDirectoryHandle, file: File): Promise<void> {
  const handle = await folder.getFileHandle(file.name, {create: true});
  const stream = await handle.createWritable(); // what was there stays until it is closed
  try {
    await stream.write(file);
    await stream.close();
  } catch (error) {
    await stream.abort().catch(() => undefined);
    throw error;
  }
}

/** 64 hex digits, or null where the page was not loaded over https. */
async function sha256Of(pieces: readonly Uint8Array[], bytes: number): Promise<string | null> {
  if (typeof crypto === 'undefined' || crypto.subtle === undefined) return null;
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', whole));
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
