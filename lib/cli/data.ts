/** @file The `--data` option: a file as a data set of batches, as the library takes it. */
import * as tf from '@tensorflow/tfjs';
import type {Command} from 'commander';
import {Dataset} from '../dataset.js';
import {openDataFile} from '../io/data-files.js';
import {countOption, numberOption} from './options.js';

/** What the options of `addDataOptions` give. */
export interface DataOptions {
  readonly data: string;
  readonly batchSize: number;
  readonly batches?: number;
  readonly scale?: number;
}

/** Adds `--data` and how to read it. */
export function addDataOptions(command: Command, what: string): Command {
  return command
    .requiredOption('-d, --data <FILE>', `${what}: .npy, .npz, .jsonl, or a .mjs that exports a data set`)
    .addOption(countOption('-b, --batch-size <N>', 'items in a batch').default(32))
    .addOption(countOption('--batches <N>', 'read no more than this many batches'))
    .addOption(numberOption('--scale <FACTOR>', 'multiply the values of a .npy, .npz or .jsonl file by this, as 0.00392'));
}

/** The data set that the options name; its batches are freed once they are used. */
export async function openData(
  model: tf.LayersModel,
  {data, batchSize, batches = Infinity, scale}: DataOptions,
): Promise<Dataset<unknown>> {
  const inputNames = model.inputNames.length > 1 ? model.inputNames : undefined;
  const file = openDataFile(data, {batchSize, scale, inputNames});
  const items = await file.itemCount();
  const count = items === undefined ? undefined : Math.min(batches, Math.ceil(items / batchSize));
  const lent = {
    length: count,
    async *[Symbol.asyncIterator]() {
      let index = 0;
      if (batches === 0) return;
      for await (const batch of file) {
        try {
          yield batch;
        } finally {
          tf.dispose(batch);
        }
        if (++index >= batches) return;
      }
    },
  };
  return new Dataset<unknown>(lent);
}
