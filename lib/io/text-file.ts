/** @file A text file written in one step. */
import {randomBytes} from 'node:crypto';
import {access, constants, rename, rm, stat, writeFile} from 'node:fs/promises';
import {dirname} from 'node:path';
import {FileError} from '../errors.js';
import {fileFailure} from './file-failure.js';

/**
 * Writes beside the path and renames, so that what is there is the old file or the new one, whole.
 *
 * @throws {FileError} `missing-file` without its folder, `no-permission`, `disk-full`, …
 */
export async function writeTextFile(path: string, text: string): Promise<void> {
  const beside = `${path}.${process.pid}-${randomBytes(4).toString('hex')}`;
  try {
    await writeFile(beside, text);
    await rename(beside, path);
  } catch (cause) {
    await rm(beside, {force: true});
    throw fileFailure(path, cause);
  }
}

/**
 * Checks that a file could be put at a path, for use before long work whose result goes there.
 *
 * @throws {FileError} `missing-file`, `not-a-folder`, `not-a-file`, `no-permission`.
 */
export async function checkFilePath(path: string): Promise<void> {
  const folder = dirname(path);
  try {
    if (!(await stat(folder)).isDirectory())
      throw new FileError('not-a-folder', `${folder} is a file: name a folder for ${path}`, {path});
    await access(folder, constants.W_OK);
  } catch (cause) {
    throw fileFailure(folder, cause);
  }
  const there = await stat(path).catch(() => null);
  if (there?.isDirectory() === true)
    throw new FileError('not-a-file', `${path} is a folder: name a file in it`, {path});
}
