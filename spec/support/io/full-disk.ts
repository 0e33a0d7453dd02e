/**
 * @file A process for `file-system.spec.ts` on a disk that is too small: saves a model of ones that fits, tries twice
 * to replace it by a model of twos that does not, and prints what came of it.
 */

import {readdirSync} from 'node:fs';
import {join} from 'node:path';

import {io} from '@tensorflow/tfjs';

import {FileError} from '../../../lib/errors.js';
import {fileSystem} from '../../../lib/io/model/file-system.js';
import {writeModel} from '../../../lib/io/model/model-writer.js';
import {SHARDS_OF_OLD, type FullDiskResult} from './full-disk-result.js';

const [folder] = process.argv.slice(2);
const MIB = 1024 ** 2;

/** Saves weights that all have one value, in pieces of 64 KiB, as shards of different content: the first value of each. */
async function save(value: number, bytes: number, shardBytes: number): Promise<void> {
  function* pieces(): Generator<Uint8Array> {
    for (let offset = 0; offset < bytes; offset += 65_536) {
      const piece = new Float32Array(16_384).fill(value);
      if (offset % shardBytes === 0) piece[0] = -offset;
      yield new Uint8Array(piece.buffer);
    }
  }
  await writeModel(
    join(folder, 'model.json'),
    {modelTopology: {class_name: 'Sequential'}, format: 'layers-model'},
    {specs: [{name: 'w', shape: [bytes / 4], dtype: 'float32'}], pieces: pieces()},
    shardBytes,
  );
}

await save(1, 1.5 * MIB, (1.5 * MIB) / SHARDS_OF_OLD);
const errors: FullDiskResult['errors'][number][] = [];
for (let attempt = 0; attempt < 2; attempt++) {
  try {
    await save(2, 8 * MIB, 3 * MIB);
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    errors.push({code: error.code, message: error.message});
  }
}
const {weightData} = await fileSystem(folder).load();
const values = new Float32Array(io.CompositeArrayBuffer.join(weightData));
const found = [...new Set(values.filter((value) => value > 0))];
const result: FullDiskResult = {errors, found, files: readdirSync(folder)};
console.log(JSON.stringify(result));
