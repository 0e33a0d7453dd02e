/**
 * @file The per-user cache: where it is, and how things get into it. Whatever is in it under its final name is
 * whole: folders are made beside their place and renamed last, so a kill half-way leaves only a
 * `partial-…` folder, which the next holder of the lock removes.
 */
import {randomBytes} from 'node:crypto';
import {mkdirSync, readFileSync, readdirSync, renameSync, rmSync} from 'node:fs';
import {homedir} from 'node:os';
import {dirname, isAbsolute, join} from 'node:path';
import {writeTextFile} from '../io/files/atomic-file.js';

const PARTIAL_PREFIX = 'partial-';

/** The cache folder of this package: `$XDG_CACHE_HOME/tfjs-sparsify`, by default under `~/.cache`. */
export function cacheFolder(): string {
  const base = process.env.XDG_CACHE_HOME;
  return join(base !== undefined && isAbsolute(base) ? base : join(homedir(), '.cache'), 'tfjs-sparsify');
}

/**
 * Makes a folder in the cache: `fill` writes into one beside it, which takes the final name when all is there.
 *
 * @param folder Final path; an existing one is replaced.
 * @param fill
 */
export async function publishFolder(folder: string, fill: (partial: string) => Promise<void>): Promise<void> {
  const partial = join(dirname(folder), `${PARTIAL_PREFIX}${process.pid}-${randomBytes(4).toString('hex')}`);
  mkdirSync(partial, {recursive: true});
  try {
    await fill(partial);
    rmSync(folder, {recursive: true, force: true});
    renameSync(partial, folder);
  } finally {
    rmSync(partial, {recursive: true, force: true});
  }
}

/** Removes what killed processes left half-made. Only for the holder of the lock on `cache`. */
export function removePartials(cache: string): void {
  for (const name of readdirSync(cache)) {
    if (!name.startsWith(PARTIAL_PREFIX)) continue;
    try {
      rmSync(join(cache, name), {recursive: true, force: true});
    } catch {
      // A program that outlived the killed process still writes there: it is left for the next time.
    }
  }
}

/** Writes a small JSON file in one step; its folder is made if missing. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  mkdirSync(dirname(path), {recursive: true});
  await writeTextFile(path, `${JSON.stringify(value, null, 2)}\n`);
}

/**
 * Reads a JSON file; one that is missing or damaged counts as missing.
 *
 * @returns Its fields, none of which need be there; undefined when there is no object to read.
 */
export function readJson<T extends object>(path: string): Partial<T> | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
