/**
 * @file A checkpoint from the Hugging Face Hub, by `@huggingface/hub`, which is only loaded here: an optional package for
 * users who download. Only the files that importing needs are fetched. What was begun is gone on with; once all is
 * there, no network is needed.
 */
import {mkdir, stat, statfs} from 'node:fs/promises';
import {basename, join} from 'node:path';

import type * as HubModule from '@huggingface/hub';

import {cacheFolder, withLock} from '#provision';
import {FileError} from '../../../lib/errors.js';
import {downloadFile} from './download.js';
import type {FetchOptions} from './fetch-options.js';
import {readOptionalJsonFile} from './json-file.js';
import {publishJson} from './publish-json.js';

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

type Hub = typeof HubModule;

/** A file of a repository. */
interface RemoteFile {
  readonly path: string;
  readonly size: number;
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

/**
 * Fetches a checkpoint unless it is in the cache.
 *
 * @returns Its folder, or the GGUF file.
 * @throws {FileError} `missing-package`, `not-found`, `no-weights`, `ambiguous`, `disk-full`, `download-failed`.
 */
export async function fetchFromHub(
  {repo, revision, file}: HubName,
  {onProgress, onWait, signal, cache = cacheFolder()}: FetchOptions,
): Promise<string> {
  const folder = join(cache, 'models', 'hf', `${repo.replace('/', '--')}@${revision}`);
  const present = await fetched(folder, file);
  if (present !== null) return present;
  await mkdir(folder, {recursive: true});
  const download = async (): Promise<string> => {
    const hub = await loadHub();
    const origin = {
      repo,
      revision,
      hubUrl: process.env.HF_ENDPOINT,
      accessToken: process.env.HF_TOKEN || undefined,
    };
    const files = chooseFiles(await listFiles(hub, origin), file, repo);
    const totalBytes = files.reduce((sum, {size}) => sum + size, 0);
    await checkSpace(folder, totalBytes);
    let before = 0;
    for (const {path, size, sha256} of files) {
      const info = await request(repo, () => hub.fileDownloadInfo({...origin, path}));
      if (info === null) throw notFound(repo, `file ${path}`);
      await downloadFile(info.url, join(folder, path), {
        ...{size, sha256, signal, version: info.etag, accessToken: origin.accessToken},
        onBytes: (bytes) => onProgress?.({file: path, receivedBytes: before + bytes, totalBytes}),
      });
      before += size;
    }
    if (file === null) await publishJson(join(folder, MANIFEST), {repo, revision, files});
    return pathOf(folder, files);
  };
  return withLock(`${folder}.lock`, download, {what: 'another download', log: onWait, signal});
}

/** What is in the cache, if it is whole. */
async function fetched(folder: string, file: string | null): Promise<string | null> {
  if (file !== null) return (await sizeOf(join(folder, file))) === null ? null : join(folder, file);
  const manifest = await readOptionalJsonFile(join(folder, MANIFEST));
  const files = manifest?.['files'];
  if (!Array.isArray(files)) return null;
  for (const {path, size} of files as RemoteFile[]) {
    if ((await sizeOf(join(folder, basename(path)))) !== size) return null;
  }
  return pathOf(folder, files as RemoteFile[]);
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

async function listFiles(hub: Hub, origin: {repo: string; revision: string}): Promise<RemoteFile[]> {
  return request(origin.repo, async () => {
    const files: RemoteFile[] = [];
    for await (const {type, path, size, lfs} of hub.listFiles(origin)) {
      if (type !== 'file' || !/^[\w.-]+$/.test(path)) continue; // those in folders belong to other formats
      files.push({path, size: lfs?.size ?? size, sha256: lfs?.oid ?? null});
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
