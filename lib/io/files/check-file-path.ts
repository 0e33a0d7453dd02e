/** @file Whether a text file could be written. */
import {access, constants, stat} from 'node:fs/promises';
import {dirname} from 'node:path';
import {FileError} from '../../errors.js';
import {fileFailure} from './file-failure.js';

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
