/**
 * @file A checkpoint from the Hugging Face Hub, by `@huggingface/hub`, which is only loaded here: an optional package for
 * users who download. Only the files that importing needs are fetched. What was begun is gone on with. Of a branch the
 * Hub is asked each time which files have changed; without a network what is there is taken.
 */
import {createHash} from 'node:crypto';
import {mkdir, rm, stat, statfs} from 'node:fs/promises';
import {basename, dirname, join} from 'node:path';

import type * as HubModule from '@huggingface/hub';

import {FileError} from '../../errors.js';
import {publishFile, writeTextFile} from '../../io/files/atomic-file.js';
import {fileChunks} from '../../io/files/file-chunks.js';
import {hashFile} from '../../io/files/file-hash.js';
import {localFolder} from '../../io/files/local-folder.js';
import {cacheFolder} from '../../provision/cache.js';
import {withLock} from '../../provision/processes/lock.js';
import {downloadFile} from './download.js';
import type {FetchOptions} from './fetch-options.js';
import {readOptionalJsonFile} from './json-file.js';

/** What a checkpoint's folder needs beside its weights. */
const SMALL_FILES = new Set([
  ...[
    'config.json',
    'generation_config.json',
    'tokenizer.json',
    'tokenizer_config.json',
    'chat_template.jinja',
  ],
]);
/** Written last, so a folder that has it is whole. */
const MANIFEST = 'fetched.json';
const HUB_URL = 'https://huggingface.co';
/** The Hub answers questions within seconds; files have a limit of their own. */
const ANSWER_MS = 30_000;

type Hub = typeof HubModule;

/** A file of a repository. */
interface RemoteFile {
  readonly path: string;
  readonly size: number;
  /** Git's hash of it, or of the pointer to it; what older versions of this package fetched has none. */
  readonly oid?: string;
  /** Of files in Git LFS, which all weights are. */
  readonly sha256: string | null;
}

/** What `hf:` names: a repository, and perhaps a revision and one GGUF file in it. */
export interface HubName {
  readonly repo: string;
  readonly revision: string;
  readonly file: string | null;
}

/**
 * Parses `OWNER/NAME`, `OWNER/NAME@REVISION`, `OWNER/NAME/FILE.gguf`.
 *
 * @returns Null if it is none of these.
 */
export function parseHubName(name: string): HubName | null {
  const match = /^([\w.-]+\/[\w.-]+?)(?:\/([\w.-]+\.gguf))?(?:@([\w.-]+))?$/.exec(name);
  if (match === null || name.includes('..')) return null;
  return {repo: match[1], file: match.at(2) ?? null, revision: match.at(3) ?? 'main'};
}

/** A revision that never means anything else. */
const COMMIT = /^[0-9a-f]{40}$/;
/** New versions of files come together here before they replace the old ones. */
const UPDATE_FOLDER = '.update';

/**
 * Fetches a checkpoint unless it is in the cache as the Hub has it: of a branch the Hub is asked every time.
 *
 * @returns Its folder, or the GGUF file. What is in the cache if the Hub cannot be asked; `onNotice` is told.
 * @throws {FileError} `missing-package`, `not-found`, `no-weights`, `ambiguous`, `disk-full`, `download-failed`.
 */
export async function fetchFromHub({repo, revision, file}: HubName, options: FetchOptions): Promise<string> {
  const {signal, onNotice, cache = cacheFolder()} = options;
  const folder = join(cache, 'models', 'hf', `${repo.replace('/', '--')}@${revision}`);
  const manifest = join(folder, file === null ? MANIFEST : `${file}.${MANIFEST}`);
  const present = await fetched(folder, manifest, file);
  if (present !== null && COMMIT.test(revision)) return pathOf(folder, present);
  await mkdir(folder, {recursive: true});
  const update = async (): Promise<string> => {
    const origin = {
      repo,
      revision,
      hubUrl: process.env.HF_ENDPOINT,
      accessToken: process.env.HF_TOKEN || undefined,
      fetch: patientFetch(signal),
    };
    let files: RemoteFile[];
    try {
      files = chooseFiles(await listFiles(await loadHub(), origin), file, repo);
    } catch (cause) {
      signal?.throwIfAborted();
      if (present === null || !(cause instanceof FileError)) throw cause;
      onNotice?.(`${cause.message}. What was fetched before is taken, which may be older`);
      return pathOf(folder, present);
    }
    const changed = await changedFiles(folder, files, present);
    if (changed.length === 0 && present !== null && sameFiles(present, files)) return pathOf(folder, files);
    const target = present === null ? folder : join(folder, UPDATE_FOLDER);
    await mkdir(target, {recursive: true});
    await download(target, changed, files, origin, options);
    if (present !== null) {
      await rm(manifest, {force: true}); // a folder that is half old is not whole
      for (const {path} of changed) await publishFile(join(target, path), join(folder, path));
      await rm(target, {recursive: true});
      const gone = present.filter(({path}) => !files.some((kept) => kept.path === path));
      for (const {path} of gone) await rm(join(folder, basename(path)), {force: true});
    }
    await writeTextFile(manifest, `${JSON.stringify({repo, revision, files}, null, 2)}\n`);
    return pathOf(folder, files);
  };
  return withLock(`${folder}.lock`, update, {what: 'another download', log: onNotice, signal});
}

/** What the requests to the Hub have in common. */
interface Origin {
  readonly repo: string;
  readonly revision: string;
  readonly hubUrl: string | undefined;
  readonly accessToken: string | undefined;
  readonly fetch: typeof fetch;
}

/** Downloads files of a repository into a folder. */
async function download(
  folder: string,
  changed: readonly RemoteFile[],
  files: readonly RemoteFile[],
  origin: Origin,
  {signal, onProgress}: FetchOptions,
): Promise<void> {
  const hub = await loadHub();
  const sum = (of: readonly RemoteFile[]) => of.reduce((bytes, {size}) => bytes + size, 0);
  const totalBytes = sum(files);
  await checkSpace(folder, sum(changed));
  let before = totalBytes - sum(changed);
  for (const file of changed) {
    const {path, size, sha256} = file;
    if (!(await isCurrent(join(folder, path), file))) {
      const info = await request(origin.repo, () => hub.fileDownloadInfo({...origin, path}));
      if (info === null) throw notFound(origin.repo, `file ${path}`);
      await downloadFile(info.url, join(folder, path), {
        ...{size, sha256, signal, version: info.etag, accessToken: tokenFor(info.url, origin)},
        onBytes: (bytes) => onProgress?.({file: path, receivedBytes: before + bytes, totalBytes}),
      });
    }
    before += size;
    onProgress?.({file: path, receivedBytes: before, totalBytes});
  }
}

/** The token is for the Hub alone: weights may lie at another host, by a signed address. */
function tokenFor(url: string, {hubUrl, accessToken}: Origin): string | undefined {
  return new URL(url).origin === new URL(hubUrl ?? HUB_URL).origin ? accessToken : undefined;
}

/** The files whose content in the folder is not known to be that of the Hub. */
async function changedFiles(
  folder: string,
  files: readonly RemoteFile[],
  present: readonly RemoteFile[] | null,
): Promise<RemoteFile[]> {
  const changed: RemoteFile[] = [];
  for (const file of files) {
    const known = present?.some((old) => old.oid !== undefined && sameFiles([old], [file])) === true;
    if (!known && !(await isCurrent(join(folder, file.path), file))) changed.push(file);
  }
  return changed;
}

function sameFiles(a: readonly RemoteFile[], b: readonly RemoteFile[]): boolean {
  const key = ({path, size, oid, sha256}: RemoteFile) => `${path} ${size} ${oid} ${sha256}`;
  return a.map(key).sort().join('\n') === b.map(key).sort().join('\n');
}

/** Whether a file on the disk has the content of that of the Hub, by its hash. */
async function isCurrent(path: string, {size, oid, sha256}: RemoteFile): Promise<boolean> {
  if ((await sizeOf(path)) !== size) return false;
  if (sha256 !== null) return (await hashFile(path)).sha256 === sha256;
  if (oid === undefined || !/^[0-9a-f]{40}$/.test(oid)) return false;
  const blob = createHash('sha1').update(`blob ${size}\0`); // how Git names a file
  for await (const piece of fileChunks(path)) blob.update(piece);
  return blob.digest('hex') === oid;
}

/** What is in the cache, if it is whole; null if not. */
async function fetched(folder: string, manifest: string, file: string | null): Promise<RemoteFile[] | null> {
  const files = (await readOptionalJsonFile(localFolder(dirname(manifest)), basename(manifest)))?.['files'];
  if (!Array.isArray(files)) {
    const size = file === null ? null : await sizeOf(join(folder, file));
    return file === null || size === null ? null : [{path: file, size, sha256: null}]; // of older versions
  }
  for (const {path, size} of files as RemoteFile[]) {
    if ((await sizeOf(join(folder, basename(path)))) !== size) return null;
  }
  return files as RemoteFile[];
}

/** `fetch` that gives up a hub that does not answer. */
function patientFetch(signal: AbortSignal | undefined): typeof fetch {
  return (input, init) => {
    const limits = [AbortSignal.timeout(ANSWER_MS), signal, init?.signal].filter(
      (each) => each !== undefined && each !== null,
    );
    return fetch(input, {...init, signal: AbortSignal.any(limits)});
  };
}

function pathOf(folder: string, files: readonly RemoteFile[]): string {
  const gguf = files.find(({path}) => path.endsWith('.gguf'));
  return gguf === undefined ? folder : join(folder, gguf.path);
}

async function loadHub(): Promise<Hub> {
  try {
    return await import('@huggingface/hub');
  } catch (cause) {
    throw new FileError(
      'missing-package',
      'fetching from the Hugging Face Hub needs the package @huggingface/hub: npm install @huggingface/hub',
      {},
      {cause},
    );
  }
}

async function listFiles(hub: Hub, origin: Origin): Promise<RemoteFile[]> {
  return request(origin.repo, async () => {
    const files: RemoteFile[] = [];
    for await (const {type, path, size, oid, lfs} of hub.listFiles(origin)) {
      if (type !== 'file' || !/^[\w.-]+$/.test(path)) continue; // those in folders belong to other formats
      files.push({path, size: lfs?.size ?? size, oid, sha256: lfs?.oid ?? null});
    }
    return files;
  });
}

/** Safetensors before GGUF; of several GGUF files the user names one. */
function chooseFiles(files: readonly RemoteFile[], wanted: string | null, repo: string): RemoteFile[] {
  if (wanted !== null) {
    const found = files.filter(({path}) => path === wanted);
    if (found.length === 0) throw notFound(repo, `file ${wanted}`);
    return found;
  }
  const tensors = files.filter(({path}) => path.endsWith('.safetensors'));
  const single = tensors.filter(({path}) => path === 'model.safetensors');
  const shards = tensors.filter(({path}) => /^model-\d+-of-\d+\.safetensors$/.test(path));
  const weights = single.length > 0 ? single : shards.length > 0 ? shards : tensors;
  if (weights.length > 0) {
    return files.filter(
      (file) =>
        SMALL_FILES.has(file.path) || file.path.endsWith('.safetensors.index.json') || weights.includes(file),
    );
  }
  const ggufs = files.filter(({path}) => path.endsWith('.gguf'));
  if (ggufs.length === 1) return ggufs;
  if (ggufs.length > 1) {
    throw new FileError(
      'ambiguous',
      `${repo} has ${ggufs.length} GGUF files; name one, as hf:${repo}/FILE: ${ggufs.map(({path}) => path).join(', ')}`,
      {repo},
    );
  }
  throw new FileError(
    'no-weights',
    `${repo} has neither .safetensors nor .gguf files: choose a repository or revision that has`,
    {repo},
  );
}

async function checkSpace(folder: string, bytes: number): Promise<void> {
  const {bavail, bsize} = await statfs(folder);
  if (bavail * bsize >= bytes) return;
  throw new FileError(
    'disk-full',
    `${folder} has ${gigabytes(bavail * bsize)} free; the checkpoint takes ${gigabytes(bytes)}: free some space, or set XDG_CACHE_HOME to a folder on a larger disk`,
    {path: folder, bytes},
  );
}

/** Failures of the Hub in words that say what to do. */
async function request<T>(repo: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (cause) {
    const status =
      typeof cause === 'object' && cause !== null && 'statusCode' in cause ? cause.statusCode : null;
    if (status === 404) throw notFound(repo, 'repository or revision');
    const reason = cause instanceof Error ? cause.message : String(cause);
    const help =
      status === 401 || status === 403
        ? 'it may be private or wait for its terms to be accepted: log in there, then set HF_TOKEN to a token of yours'
        : 'check the network, or set HF_ENDPOINT to a mirror';
    throw new FileError(
      'download-failed',
      `${repo} cannot be fetched: ${reason}; ${help}`,
      {repo, status},
      {cause},
    );
  }
}

function notFound(repo: string, what: string): FileError {
  return new FileError('not-found', `the Hugging Face Hub has no ${what} of ${repo}: check the name`, {repo});
}

async function sizeOf(path: string): Promise<number | null> {
  try {
    return (await stat(path)).size;
  } catch {
    return null;
  }
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
