/** @file The SHA-256 of a file, read in pieces. */
import {createHash} from 'node:crypto';
import {createReadStream} from 'node:fs';
import {basename} from 'node:path';
import {fileFailure} from './file-failure.js';

/** A file and what identifies its content. */
export interface HashedFile {
  /** Without its folder. */
  readonly name: string;
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

/**
 * Hashes one file.
 *
 * @throws {FileError} if it cannot be read.
 */
export async function hashFile(path: string): Promise<HashedFile> {
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    for await (const piece of createReadStream(path, {highWaterMark: 1024 ** 2}) as AsyncIterable<Buffer>) {
      hash.update(piece);
      bytes += piece.length;
    }
  } catch (cause) {
    throw fileFailure(path, cause);
  }
  return {name: basename(path), bytes, sha256: hash.digest('hex')};
}
