/** @file A folder for a spec's files, and how a promise failed. */

import {existsSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

import {SparsifyError} from '../../../lib/errors.js';

/** A new folder before each test, removed after it. */
export function temporaryFolder(): (name?: string) => string {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-'));
  });
  afterEach(() => {
    rmSync(folder, {recursive: true, force: true});
  });
  return (name = '') => join(folder, name);
}

/** Writes a file and returns its path. */
export function write(path: string, content: string | Uint8Array): string {
  writeFileSync(path, content);
  return path;
}

/** The error that `action` ends with, which must be one of this package's. */
export async function failure(action: Promise<unknown> | (() => unknown)): Promise<SparsifyError> {
  try {
    await (typeof action === 'function' ? action() : action);
  } catch (error) {
    if (error instanceof SparsifyError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

/** Whether this process lets go of a file within a second; undefined where the system does not tell. */
export async function isClosed(path: string): Promise<boolean | undefined> {
  if (!existsSync('/proc/self/fd')) return undefined;
  for (let i = 0; i < 100 && openFilesOf(path).length > 0; i++)
    await new Promise((resolve) => setTimeout(resolve, 10));
  return openFilesOf(path).length === 0;
}

function openFilesOf(path: string): string[] {
  return readdirSync('/proc/self/fd').filter((descriptor) => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`) === path;
    } catch {
      return false; // that of reading the folder itself
    }
  });
}

/** Everything that an async iterable gives. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
