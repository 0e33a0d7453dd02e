/**
 * @file Where a page has a language model from: an address, or files that it was given. What is opened is known by its
 * description alone, so that it can be refused before its weights are downloaded.
 */
import {FileError, SparsifyError} from '../../errors.js';
import {fileUrl} from '../../io/files/file-url.js';
import {checkShards, fileModel, type ModelFiles} from '../../io/model/file-model.js';
import type {ModelSource} from '../../io/model/model-source.js';
import {BlobFile, checkedFile, filesFolder} from '../../io/web/blob-file.js';
import {ModelDownload, type ModelDownloadOptions} from '../../io/web/model-download.js';
import type {PieceStore} from '../../io/web/piece-store.js';
import type {Checkpoint} from '../weights/checkpoint.js';
import {ggufCheckpoint} from './gguf.js';
import {huggingFaceCheckpoint} from './huggingface-folder.js';
import {checkSource} from './model-address.js';

/**
 * Address of a `.gguf` file, of a folder or `model.json` that was saved, or of a Hugging Face folder; a `.gguf` file; or the
 * files of a folder.
 */
export type LanguageModelSource = string | URL | Blob | readonly File[];

/** A model of which nothing but its description was read. */
export interface OpenedSource {
  /** For errors. */
  readonly name: string;
  /** Either to be imported, or saved by this package. */
  readonly content: {readonly checkpoint: Checkpoint} | {readonly saved: ModelSource};
  /** Brings the weights here, checked, as far as they are not. */
  complete(): Promise<void>;
  /** Deletes what is stored of it; it cannot be read any more. */
  forget(): Promise<void>;
  close(): Promise<void>;
}

/** Codes of a description that is none, such as a page with an error that a server gave in its place: it must not stay stored. */
const NO_MODEL: ReadonlySet<string> = new Set([
  'not-gguf',
  'malformed-gguf',
  'malformed-json',
  'malformed-index',
]);

export interface OpenSourceOptions extends ModelDownloadOptions {
  readonly store: PieceStore;
  /** Of the file, if the address is that of a `.gguf`. */
  readonly sha256?: string | null;
}

/**
 * Opens a model.
 *
 * @throws {FileError}, {ModelError} What is wrong with its description, or with getting it.
 */
export async function openSource(
  source: LanguageModelSource,
  options: OpenSourceOptions,
): Promise<OpenedSource> {
  checkSource(source);
  if (source instanceof Blob) return openFile(source);
  if (isFiles(source)) return openFiles(source);
  const download = new ModelDownload(
    typeof source === 'string' ? source : source.href,
    options.store,
    options,
  );
  try {
    return await openUrl(download, options.sha256 ?? null);
  } catch (error) {
    if (error instanceof SparsifyError && NO_MODEL.has(error.code)) await download.forget();
    await download.close();
    throw error;
  }
}

async function openUrl(download: ModelDownload, sha256: string | null): Promise<OpenedSource> {
  const {url} = download;
  const {pathname} = new URL(url);
  const close = () => download.close();
  const complete = () => download.complete();
  const forget = () => download.forget();
  if (/\.gguf$/i.test(pathname)) {
    const file = await download.open(url, sha256);
    return {name: file.name, content: {checkpoint: await ggufCheckpoint(file)}, complete, forget, close};
  }
  const isJson = /\.json$/i.test(pathname);
  if (isJson || (await download.has('model.json'))) {
    const jsonUrl = isJson ? url : fileUrl('model.json', url);
    const files: ModelFiles = {
      shardName: (path) => fileUrl(path, jsonUrl),
      sizeOf: async (path, checksum) => (await download.open(fileUrl(path, jsonUrl), checksum)).size,
      // The download was held against its checksum.
      open: async (path, checksum) => ({
        file: await download.open(fileUrl(path, jsonUrl), checksum),
        isChecked: true,
      }),
    };
    const saved = await fileModel(await download.fetch(jsonUrl), files);
    const downloadShards = async () => {
      await checkShards(saved, files);
      await download.complete();
    };
    return {name: saved.name, content: {saved}, complete: downloadShards, forget, close};
  }
  const folder = download.folder();
  if (!(await download.has('config.json'))) {
    throw new FileError(
      'missing-file',
      `${folder.name} has neither model.json nor config.json: give the address of a .gguf file, or of the folder of a saved ` +
        'model or of a Hugging Face checkpoint',
      {url: folder.name},
    );
  }
  return {
    name: folder.name,
    content: {checkpoint: await huggingFaceCheckpoint(folder)},
    complete,
    forget,
    close,
  };
}

async function openFile(blob: Blob): Promise<OpenedSource> {
  const name = blob instanceof File ? blob.name : 'the given file';
  const checkpoint = await ggufCheckpoint(new BlobFile(name, blob));
  return {name, content: {checkpoint}, complete: nothing, forget: nothing, close: () => checkpoint.close()};
}

async function openFiles(files: readonly File[]): Promise<OpenedSource> {
  if (files.length === 0) throw new FileError('missing-file', 'no file was given: give those of a model');
  const folder = filesFolder(files);
  const names = await folder.list();
  const {name} = folder;
  if (names.includes('model.json')) {
    const modelFiles: ModelFiles = {
      shardName: (path) => path,
      sizeOf: async (path) => (await folder.open(nameIn(path))).size,
      open: async (path, sha256) => checkedFile(await folder.open(nameIn(path)), sha256),
    };
    const saved = await fileModel(await folder.open('model.json'), modelFiles);
    return {
      name,
      content: {saved},
      complete: () => checkShards(saved, modelFiles),
      forget: nothing,
      close: nothing,
    };
  }
  if (names.includes('config.json')) {
    const checkpoint = await huggingFaceCheckpoint(folder);
    return {name, content: {checkpoint}, complete: nothing, forget: nothing, close: () => checkpoint.close()};
  }
  const ggufs = files.filter((file) => /\.gguf$/i.test(file.name));
  if (ggufs.length === 1) return openFile(ggufs[0]);
  throw new FileError(
    ggufs.length > 1 ? 'ambiguous' : 'missing-file',
    ggufs.length > 1
      ? `${ggufs.length} .gguf files were given; give one: ${ggufs
          .slice(0, 5)
          .map((file) => file.name)
          .join(', ')}`
      : `among the ${files.length} given files is neither model.json, config.json nor a .gguf file: give the whole folder of a model`,
    {files: names.slice(0, 20)},
  );
}

function isFiles(source: string | URL | readonly File[]): source is readonly File[] {
  return Array.isArray(source);
}

/** A path in a manifest without its folders, which files that were given do not have. */
function nameIn(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function nothing(): Promise<void> {
  return Promise.resolve();
}
