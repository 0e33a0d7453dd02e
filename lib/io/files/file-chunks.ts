/** @file Part of a file on disk as a stream of chunks. */

import {createReadStream} from 'node:fs';

import {fileFailure} from './file-failure.js';

/** Reading ahead: large enough for the disk, small beside any batch. */
const CHUNK_BYTES = 1024 ** 2;

/**
 * Part of a file as a stream of chunks.
 *
 * @param path The file.
 * @param start First byte.
 * @param length How many bytes; to the end of the file if left out.
 * @throws FileError if the file cannot be read.
 */
export async function* fileChunks(path: string, start = 0, length = Infinity): AsyncGenerator<Uint8Array> {
  if (length === 0) return;
  try {
    yield* createReadStream(path, {
      start,
      end: start + length - 1,
      highWaterMark: CHUNK_BYTES,
    }) as AsyncIterable<Buffer>;
  } catch (cause) {
    throw fileFailure(path, cause);
  }
}
