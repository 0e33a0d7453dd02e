/**
 * @file A process for `file-system.spec.ts` to kill: saves weights that all equal the number of the save into
 * the folder named by the first argument, over and over. Without TensorFlow.js, so that it starts quickly.
 */

import {join} from 'node:path';

import {writeModel} from '../../../lib/io/model/model-writer.js';

const WEIGHTS = 200_000;
const SHARD_BYTES = 100_000;

const [folder, first] = process.argv.slice(2);

async function saveForever(): Promise<never> {
  process.stdout.write('ready\n');
  for (let value = Number(first); ; value++) {
    const weights = new Float32Array(WEIGHTS).fill(value);
    weights.forEach((_, i) => (weights[i] = i % 25_000 === 0 ? i : value)); // shards of different content
    await writeModel(
      join(folder, 'model.json'),
      {modelTopology: {class_name: 'Sequential'}, format: 'layers-model'},
      {
        specs: [{name: 'w', shape: [WEIGHTS], dtype: 'float32'}],
        pieces: [new Uint8Array(weights.buffer)],
      },
      SHARD_BYTES,
    );
    process.stdout.write('saved\n');
  }
}

void saveForever();
