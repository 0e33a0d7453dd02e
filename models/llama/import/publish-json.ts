/** @file A small JSON file written in one step. */
import {rename, writeFile} from 'node:fs/promises';

/** Writes beside the path and renames, so that the file is whole or not there. */
export async function publishJson(path: string, value: unknown): Promise<void> {
  const beside = `${path}.${process.pid}`;
  await writeFile(beside, `${JSON.stringify(value, null, 2)}\n`);
  await rename(beside, path);
}
