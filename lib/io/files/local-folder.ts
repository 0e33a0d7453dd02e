/** @file A folder on the disk. */
import {readdir} from 'node:fs/promises';
import {join} from 'node:path';

import type {FileFolder} from './file-folder.js';
import {fileFailure} from './file-failure.js';
import {LocalFile} from './local-file.js';

/** @param path Of the folder; nothing is looked at before a file is opened. */
export function localFolder(path: string): FileFolder {
  const pathOf = (file: string) => join(path, file);
  return {
    name: path,
    pathOf,
    list: async () => {
      try {
        return await readdir(path);
      } catch (cause) {
        throw fileFailure(path, cause);
      }
    },
    open: (file) => LocalFile.open(pathOf(file)),
  };
}
