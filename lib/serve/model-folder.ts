/** @file The versions of a model on the disk: folders named by whole numbers, or the path itself as version 1. */
import {readdir} from 'node:fs/promises';
import {join} from 'node:path';

/**
 * The versions that are there now.
 *
 * @param path A folder of versions, or anything that can be loaded.
 * @returns Paths by version; a path without numbered folders is version 1, and may turn out not to be loadable.
 */
export async function versionsIn(path: string): Promise<ReadonlyMap<number, string>> {
  try {
    const entries = await readdir(path, {withFileTypes: true});
    const names = entries
      .filter(
        (entry) => (entry.isDirectory() || entry.isSymbolicLink()) && /^[1-9]\d{0,14}$/.test(entry.name),
      )
      .map(({name}) => name);
    if (names.length > 0) return new Map(names.map((name) => [Number(name), join(path, name)]));
  } catch {
    // A file, a URL, or nothing: what loads it says so.
  }
  return new Map([[1, path]]);
}
