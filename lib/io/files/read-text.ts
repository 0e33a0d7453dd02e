/** @file A text file of the disk, whole. */
import {readFile} from 'node:fs/promises';

import {decodeText} from './decode-text.js';
import {fileFailure} from './file-failure.js';

/**
 * Reads a text file.
 *
 * @throws {FileError} `malformed-text`, or what the system says.
 */
export async function readText(path: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw fileFailure(path, cause);
  }
  return decodeText(bytes, path);
}
