/**
 * @file Makes a folder with those above it. Node's recursive `mkdir` does not end where the system refuses a folder with
 * ENOENT although the one above is there, as /proc does.
 */
import {mkdir, stat} from 'node:fs/promises';
import {dirname} from 'node:path';
import {FileError} from '../../errors.js';

/**
 * Makes a folder unless it is there.
 *
 * @returns Whether it was made.
 * @throws {FileError} `no-permission` where the file system takes no folders; the system's own error otherwise.
 */
export async function makeFolder(folder: string): Promise<boolean> {
  for (;;) {
    try {
      await mkdir(folder);
      return true;
    } catch (cause) {
      const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
      if (code === 'EEXIST' && (await isFolder(folder))) return false;
      if (code !== 'ENOENT') throw cause;
      if (await isFolder(dirname(folder))) {
        throw new FileError(
          'no-permission',
          `${folder} cannot be made: the file system there takes no new folders; choose another place`,
          {path: folder},
          {cause},
        );
      }
      await makeFolder(dirname(folder));
    }
  }
}

async function isFolder(path: string): Promise<boolean> {
  const there = await stat(path).catch(() => null);
  return there?.isDirectory() === true;
}
