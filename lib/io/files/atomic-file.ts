/**
 * @file Files that are the old one or the new one, whole, whatever happens in between: written beside their place, flushed
 * to the disk, renamed. All that this package writes goes this way: texts, cards, reports, downloads, models.
 */
import {randomBytes} from 'node:crypto';
import {open, rename, rm} from 'node:fs/promises';
import {dirname} from 'node:path';

import {fileFailure} from './file-failure.js';

/**
 * Writes a text file in one step.
 *
 * @throws {FileError} `missing-file` without its folder, `no-permission`, `disk-full`, …; what was there is whole then.
 */
export async function writeTextFile(path: string, text: string): Promise<void> {
  const beside = `${path}.${process.pid}-${randomBytes(4).toString('hex')}`;
  try {
    await writeFlushed(beside, text);
    await publishFile(beside, path);
  } catch (cause) {
    await rm(beside, {force: true}).catch(() => undefined); // the first failure is the one to tell
    throw fileFailure(path, cause);
  }
}

/** Writes a new file and flushes it to the disk. */
export async function writeFlushed(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Gives a file that is flushed its name, and flushes the folder: what is there is replaced in one step. */
export async function publishFile(from: string, to: string): Promise<void> {
  await rename(from, to);
  await flushFolder(dirname(to));
}

/** Flushes a file to the disk. */
export async function flushFile(path: string): Promise<void> {
  const handle = await open(path, 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes the renames in a folder survive a power cut, where the system can. */
export async function flushFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return; // folders cannot be opened there
  const handle = await open(folder);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
