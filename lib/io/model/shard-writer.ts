/** @file Weights, streamed into files of limited size that are named by their content. */

import {createHash, type Hash} from 'node:crypto';
import {open, rename, type FileHandle} from 'node:fs/promises';
import {join} from 'node:path';

/** Below the 2 GiB at which many readers and file systems end. */
export const MAX_SHARD_BYTES = 1024 ** 3;
/** One write call: large enough to cost nothing, small enough that Ctrl-C is heard in between. */
const WRITE_BYTES = 16 * 1024 ** 2;

/** The files that were written, in the order of the weights. */
export interface WrittenShards {
  /** Names in the folder; two shards of equal content share one file. */
  readonly paths: string[];
  /** SHA-256 of each of `paths`, 64 hex digits. */
  readonly sha256: string[];
  /** Bytes of all shards together. */
  readonly bytes: number;
}

/**
 * Writes bytes into files in `folder`, each flushed to the disk.
 *
 * @param folder An existing folder.
 * @param prefix What the files' names start with; 16 hex digits of their SHA-256 and `.bin` follow.
 * @param pieces The bytes, cut anywhere; the next piece is asked for once the last one is written.
 * @param maxShardBytes The size at which a file is full; at least 1.
 */
export async function writeShards(
  folder: string,
  prefix: string,
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  maxShardBytes: number,
): Promise<WrittenShards> {
  const paths: string[] = [];
  const sha256: string[] = [];
  let total = 0;
  let shard: OpenShard | undefined;
  const finish = async (full: OpenShard) => {
    shard = undefined;
    const hash = await full.close();
    const name = `${prefix}${hash.slice(0, 16)}.bin`;
    await rename(full.path, join(folder, name));
    paths.push(name);
    sha256.push(hash);
  };
  try {
    for await (const piece of pieces) {
      for (let offset = 0; offset < piece.byteLength;) {
        shard ??= await OpenShard.create(join(folder, 'draft.bin'));
        const length = Math.min(WRITE_BYTES, maxShardBytes - shard.bytes);
        const written = await shard.write(piece.subarray(offset, offset + length));
        offset += written;
        total += written;
        if (shard.bytes >= maxShardBytes) await finish(shard);
      }
    }
    if (shard !== undefined) await finish(shard);
    return {paths, sha256, bytes: total};
  } finally {
    await shard?.abandon();
  }
}

/** A file being written, with the hash of what is in it so far. */
class OpenShard {
  bytes = 0;
  private readonly hash: Hash = createHash('sha256');

  private constructor(
    readonly path: string,
    private readonly file: FileHandle,
  ) {}

  static async create(path: string): Promise<OpenShard> {
    return new OpenShard(path, await open(path, 'w'));
  }

  async write(chunk: Uint8Array): Promise<number> {
    await this.file.writeFile(chunk); // continues where the last one ended
    this.hash.update(chunk);
    this.bytes += chunk.byteLength;
    return chunk.byteLength;
  }

  /** Flushes and closes the file; returns its SHA-256 in hex digits. */
  async close(): Promise<string> {
    try {
      await this.file.sync();
    } finally {
      await this.file.close();
    }
    return this.hash.digest('hex');
  }

  async abandon(): Promise<void> {
    await this.file.close();
  }
}
