/** @file The `--data` option: a file as a data set of batches, as the library takes it. */
import {extname} from 'node:path';
import type * as tf from '@tensorflow/tfjs';
import type {Command} from 'commander';
import {Dataset, type Batches} from '../dataset.js';
import {FileError} from '../errors.js';
import {readsIds} from '../eval/random-inputs.js';
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
    .addOption(countOption('-b, --batch-size <N>', 'items in a batch; a .mjs makes its own').default(32))
    .addOption(countOption('--batches <N>', 'read no more than this many batches'))
    .addOption(
      numberOption(
        '--scale <FACTOR>',
        'multiply the values of a .npy, .npz or .jsonl file by this, as 0.00392; a file of bytes needs it',
      ),
    );
}

/** The data set that the options name; its batches are freed once they are used. */
export async function openData(
  model: tf.LayersModel,
  {data, batchSize, batches, scale}: DataOptions,
): Promise<Batches> {
  if (scale !== undefined && /^\.m?js$/i.test(extname(data))) {
    throw new FileError('bad-option', `--scale does not concern ${data}: scale the batches in the module`);
  }
  const inputNames = model.inputNames.length > 1 ? model.inputNames : undefined;
  const file = openDataFile(data, {batchSize, scale, inputNames});
  if (scale === undefined && !readsIds(model) && (await file.holdsBytes())) {
    throw new FileError(
      'bad-option',
      `${data} holds bytes, 0 to 255, as images do, and there is no --scale: give --scale ${1 / 255} if the model takes ` +
        '0 to 1, or --scale 1 if it takes the bytes as they are',
      {path: data},
    );
  }
  const items = await file.itemCount();
  const inFile = items === undefined ? undefined : Math.ceil(items / batchSize);
  const dataset = new Dataset(file, null, {disposeItems: true, length: inFile});
  if (batches === undefined) return dataset;
  return {
    length: inFile === undefined ? null : Math.min(inFile, batches),
    getInferenceData: () => dataset.getInferenceData(countTo(batches)),
  };
}

function countTo(end: number): number[] {
  return Array.from({length: end}, (_, i) => i);
}
