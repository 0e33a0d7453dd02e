/** @file The versions of a model on the disk: folders named by whole numbers, or the path itself as version 1. */
import {readdir} from 'node:fs/promises';
import {join} from 'node:path';

/**
 * The versions that are there now.
 *
 * @param path A folder of versions, or anything that can be loaded.
 * @returns Paths by version; a path without numbered folders is version 1, and may turn out not to be loadable.
 * @throws The system's error if it cannot be told: nothing is there, or it cannot be read now.
 */
export async function versionsIn(path: string): Promise<ReadonlyMap<number, string>> {
  if (/^[a-z][a-z0-9+.-]*:/i.test(path)) return new Map([[1, path]]); // a URL
  const names = await numberedFolders(path);
  return new Map(names.length === 0 ? [[1, path]] : names.map((name) => [Number(name), join(path, name)]));
}

async function numberedFolders(path: string): Promise<string[]> {
  try {
    const entries = await readdir(path, {withFileTypes: true});
    return entries
      .filter(
        (entry) => (entry.isDirectory() || entry.isSymbolicLink()) && /^[1-9]\d{0,14}$/.test(entry.name),
      )
      .map(({name}) => name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return []; // a file
    throw error;
  }
}
