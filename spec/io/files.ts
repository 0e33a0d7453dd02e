/** @file A folder for a spec's files, and how a promise failed. */

import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

import {SparsifyError} from '../../lib/errors.js';

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

/** Everything that an async iterable gives. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
