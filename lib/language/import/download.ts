/** @file One large file over HTTP: what is there already of it is kept, and it takes its name when it is whole. */
import {createHash} from 'node:crypto';
import {open, rm, stat} from 'node:fs/promises';

import {FileError} from '../../errors.js';
import {flushFile, publishFile} from '../../io/files/atomic-file.js';
import {fileFailure} from '../../io/files/file-failure.js';
import {hashFile} from '../../io/files/file-hash.js';

export interface DownloadOptions {
  /** What the file must be, in bytes. */
  readonly size: number;
  /** Checked at the end, if known. */
  readonly sha256: string | null;
  /** Changes when the file does: a part of another version is not gone on with. */
  readonly version: string;
  readonly accessToken?: string;
  readonly signal?: AbortSignal;
  /** Is told how many bytes there are, as they come. */
  readonly onBytes?: (bytes: number) => void;
}

/** A server that stops sending is given up after this long; what came is kept. */
const SILENCE_MS = 60_000;

/**
 * Downloads a file, or the rest of it.
 *
 * @param url Where it is.
 * @param path Where it goes; a file there is replaced in one step.
 * @throws {FileError} `download-failed`, `checksum-mismatch`, `interrupted`, or what the operating system says.
 */
export async function downloadFile(url: string, path: string, options: DownloadOptions): Promise<void> {
  const {size, sha256, version, onBytes} = options;
  const tag = createHash('sha256').update(version).digest('hex').slice(0, 16);
  const partial = `${path}.${tag}.partial`;
  const there = await sizeOf(partial);
  if (there > size) await rm(partial);
  if (there !== size || size === 0) await append(url, partial, there > size ? 0 : there, options);
  if ((await sizeOf(partial)) !== size) {
    throw new FileError(
      'download-failed',
      `${url} ended after ${await sizeOf(partial)} of ${size} bytes: try again, it goes on from there`,
      {url, path},
    );
  }
  if (sha256 !== null && (await hashFile(partial)).sha256 !== sha256) {
    await rm(partial);
    throw new FileError('checksum-mismatch', `${url} was damaged on the way: try again`, {url, path});
  }
  await flushFile(partial);
  await publishFile(partial, path);
  onBytes?.(size);
}

async function append(url: string, partial: string, there: number, options: DownloadOptions): Promise<void> {
  const {size, accessToken, signal, onBytes} = options;
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const headers: Record<string, string> = {};
    if (there > 0) headers['range'] = `bytes=${there}-`;
    if (accessToken !== undefined) headers['authorization'] = `Bearer ${accessToken}`;
    const response = await fetch(url, {
      headers,
      signal: AbortSignal.any([silence.signal, ...(signal ? [signal] : [])]),
    });
    if (!response.ok || response.body === null) throw new Error(`the server answered ${response.status}`);
    const start = response.status === 206 ? there : 0; // a server without ranges starts anew
    const file = await open(partial, start > 0 ? 'a' : 'w');
    try {
      let received = start;
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        received += chunk.byteLength;
        if (received > size) throw new Error(`the server sends more than ${size} bytes`);
        await file.appendFile(chunk);
        onBytes?.(received);
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
      }
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw failure(url, partial, cause, silence.signal.aborted, signal?.aborted === true);
  } finally {
    clearTimeout(timer);
  }
}

function failure(
  url: string,
  partial: string,
  cause: unknown,
  silent: boolean,
  interrupted: boolean,
): unknown {
  const local = fileFailure(partial, cause);
  if (local instanceof FileError) return local;
  if (interrupted) {
    return new FileError(
      'interrupted',
      `the download of ${url} was stopped; it goes on from there next time`,
      {url},
      {cause},
    );
  }
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  const reason = silent
    ? `nothing came for ${SILENCE_MS / 1000} s`
    : inner instanceof Error
      ? inner.message
      : 'unknown';
  return new FileError(
    'download-failed',
    `${url} cannot be downloaded: ${reason}; check the network and try again, it goes on from there`,
    {url},
    {cause},
  );
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    return 0;
  }
}
