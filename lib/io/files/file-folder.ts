/** @file A folder whose files are read by position, wherever it lies: on the disk, behind a URL, dropped on a page. */
import type {RandomAccess} from './random-access.js';

export interface FileFolder {
  /** Path or URL, for errors. */
  readonly name: string;
  /** Path or URL of one of its files, for errors. */
  pathOf(file: string): string;
  /** Names of its files; where it cannot be listed, of those that a checkpoint may have and that are there. */
  list(): Promise<readonly string[]>;
  /** Opens a file; the caller closes it. @throws {FileError} `missing-file` if there is none of that name. */
  open(file: string): Promise<RandomAccess>;
}
