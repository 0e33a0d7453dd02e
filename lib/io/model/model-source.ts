/**
 * @file Where a saved model comes from: its `model.json`, and its shards as bytes in order. The disk and the web
 * (`file-system.ts`, `http-model.ts`) each implement it; what is read of it is checked in `group-reader.ts`.
 */

import type {io} from '@tensorflow/tfjs';

import type {Sha256Hash} from '../files/sha256.js';

/** A shard that is being read, from front to back. */
export interface ShardStream {
  /** Reads at least one byte and at most as many as `target` has; returns how many, 0 at the end. */
  read(target: Uint8Array): Promise<number>;
  close(): Promise<void>;
  /** Whether it was held against the checksum in the manifest already, if that has one. */
  readonly isChecked?: boolean;
}

/** A saved model whose `model.json` is parsed and checked. */
export interface ModelSource {
  /** Path or URL of the `model.json`, for errors. */
  readonly name: string;
  readonly json: io.ModelJSON;
  /** Path or URL of a shard, for errors. */
  shardName(path: string): string;
  /** Opens one of the shards that the manifest lists. Throws `FileError` if it cannot be read. */
  openShard(path: string): Promise<ShardStream>;
  /** Begins the checksum of a shard. */
  createHash(): Sha256Hash;
}
