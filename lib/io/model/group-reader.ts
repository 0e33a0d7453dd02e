/**
 * @file The bytes of one group of weights, in order over all its shards, each shard held against its checksum when
 * its end is reached. Nothing is kept: the caller says where the bytes go.
 */

import {FileError} from '../../errors.js';
import {weightsSize, type WeightsGroup} from './model-json.js';
import type {Sha256Hash} from '../files/sha256.js';
import type {ModelSource, ShardStream} from './model-source.js';

/** One read: large enough to cost nothing, small enough that other work gets its turn. */
const READ_BYTES = 16 * 1024 ** 2;

/** Reads a group of weights once, from front to back; `close` it. */
export class GroupReader {
  private shard:
    {readonly path: string; readonly stream: ShardStream; readonly hash?: Sha256Hash} | undefined;
  /** Index of the next shard to open. */
  private next = 0;
  private offset = 0;

  constructor(
    private readonly source: ModelSource,
    private readonly group: WeightsGroup,
  ) {}

  /**
   * Fills `target` with the next bytes.
   *
   * @throws FileError `weights-mismatch` if the shards end before that, `checksum-mismatch` if one is damaged.
   */
  async fill(target: Uint8Array): Promise<void> {
    for (let filled = 0; filled < target.byteLength;) {
      const read = await this.read(target.subarray(filled, filled + READ_BYTES));
      if (read === 0) throw this.sizeError(`${this.offset} bytes`);
      filled += read;
    }
  }

  /** Reads some of the next bytes; returns how many, 0 at the end of the last shard. */
  async read(target: Uint8Array): Promise<number> {
    for (;;) {
      if (this.shard === undefined) {
        if (this.next === this.group.paths.length) return 0;
        const path = this.group.paths[this.next];
        const stream = await this.source.openShard(path);
        const isToHash = this.group.sha256 !== undefined && stream.isChecked !== true;
        this.shard = {path, stream, hash: isToHash ? this.source.createHash() : undefined};
        this.next++;
      }
      const read = await this.shard.stream.read(target);
      if (read > 0) {
        this.shard.hash?.update(target.subarray(0, read));
        this.offset += read;
        return read;
      }
      await this.finishShard();
    }
  }

  /**
   * Checks that the shards hold nothing more, which also reaches the last one's checksum.
   *
   * @throws FileError `weights-mismatch`, `checksum-mismatch`.
   */
  async end(): Promise<void> {
    if ((await this.read(new Uint8Array(1))) > 0) throw this.sizeError('longer');
  }

  /** Closes what is open; harmless at any time. */
  async close(): Promise<void> {
    const shard = this.shard;
    this.shard = undefined;
    await shard?.stream.close();
  }

  private async finishShard(): Promise<void> {
    const shard = this.shard;
    await this.close();
    const expected = this.group.sha256?.[this.next - 1];
    if (shard?.hash === undefined) return;
    const found = shard.hash.digest('hex');
    if (expected === found) return;
    const file = this.source.shardName(shard.path);
    throw new FileError(
      'checksum-mismatch',
      `${file} is damaged: its SHA-256 is ${found}, the manifest in ${this.source.name} says ${expected}: copy ` +
        'the file again from where this model was written, or save the model again',
      {path: file, source: this.source.name, found, expected},
    );
  }

  private sizeError(found: string): FileError {
    const {bytes, exact} = weightsSize(this.group.weights);
    return new FileError(
      'weights-mismatch',
      `the weights in ${this.group.paths.join(', ')} are ${found}; the manifest in ${this.source.name} needs ` +
        `${exact ? '' : 'at least '}${bytes}: copy the weight files again, from the folder where this model.json was written`,
      {source: this.source.name, paths: this.group.paths, expected: bytes},
    );
  }
}
