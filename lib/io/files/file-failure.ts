/** @file What the operating system says about a file, in words that tell the user what to do. */

import {FileError} from '../../errors.js';

const WORDS: Readonly<Record<string, readonly [code: string, text: string]>> = {
  ENOENT: ['missing-file', 'does not exist: check the path'],
  EISDIR: ['not-a-file', 'is a folder: name a file in it'],
  ENOTDIR: ['not-a-folder', 'leads through a file, not a folder: check the path'],
  EACCES: ['no-permission', 'may not be used by this user: check its permissions'],
  EPERM: ['no-permission', 'may not be used by this user: check its permissions'],
  EROFS: ['no-permission', 'lies on a read-only file system: choose another place'],
  ENOSPC: ['disk-full', 'does not fit on the disk: free some space and try again'],
  EFBIG: [
    'file-too-large',
    'would have a file larger than this process or disk allows: raise `ulimit -f`, or save in smaller shards',
  ],
  EDQUOT: ['disk-full', 'does not fit in the disk quota: free some space and try again'],
};

/**
 * Turns a failure of the file system into a `FileError`; other errors come back as they are.
 *
 * @param path The file or folder concerned.
 * @param cause What was thrown.
 * @returns The error to throw, with `cause` attached.
 */
export function fileFailure(path: string, cause: unknown): unknown {
  if (!(cause instanceof Error) || !('code' in cause) || !('syscall' in cause)) return cause;
  const [code, text] = WORDS[String(cause.code)] ?? ['file-failure', `cannot be used: ${cause.message}`];
  return new FileError(code, `${path} ${text}`, {path, errno: cause.code}, {cause});
}
