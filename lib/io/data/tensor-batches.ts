/** @file Batches of arrays, from a file on disk or a blob, as batches of tensors. */

import type * as tf from '@tensorflow/tfjs';

import {FileError} from '../../errors.js';
import {CHECKED_LATER, NUMBER, TEXTS, checkOptions, oneOf, type OptionRules} from '../../option-rules.js';
import {toTensor, type ArrayBatch, type ArraySource, type TensorOptions} from './array-batches.js';
import type {TensorBatch} from './data-module.js';

/** How a data file is read. */
export interface DataFileOptions extends TensorOptions {
  /** Items in a batch; the last batch has what is left. A `.mjs` module makes its own batches. */
  readonly batchSize?: number;
  /** Which named arrays of a `.npz` file or of JSON objects are the inputs; all by default. */
  readonly inputNames?: readonly string[];
}

const RULES: OptionRules<DataFileOptions> = {
  scale: NUMBER,
  dtype: oneOf(['float32', 'int32']),
  batchSize: CHECKED_LATER,
  inputNames: TEXTS,
};

/** Batches of inputs that can be read any number of times, each time from the start. */
export interface DataFile extends AsyncIterable<TensorBatch> {
  readonly path: string;
  /** Items in the file, or undefined if only reading all of it would tell (`.jsonl`, `.mjs`). */
  itemCount(): Promise<number | undefined>;
  /** Whether an array of the file holds unsigned bytes, as images do: most models want them scaled. */
  holdsBytes(): Promise<boolean>;
}

/**
 * Checks options of `DataFileOptions`.
 *
 * @param call The function that they were given to, for errors.
 * @returns The batch size.
 * @throws {FileError} `bad-option` for a batch size below 1; {SparsifyError} as `checkOptions`.
 */
export function checkDataOptions(call: string, options: DataFileOptions): number {
  checkOptions(call, options, RULES);
  const {batchSize = 32} = options;
  if (Number.isInteger(batchSize) && batchSize >= 1) return batchSize;
  throw new FileError('bad-option', `batch size is ${batchSize}; it must be an integer of at least 1`, {
    batchSize,
  });
}

/** Arrays as a data file. Its options are checked. */
export function dataFile(
  path: string,
  source: ArraySource,
  batchSize: number,
  options: TensorOptions,
): DataFile {
  return {
    path,
    itemCount: () => source.itemCount(),
    holdsBytes: () => source.holdsBytes(),
    [Symbol.asyncIterator]: () => tensorBatches(source.batches(batchSize), path, options),
  };
}

async function* tensorBatches(
  batches: AsyncIterable<ArrayBatch>,
  path: string,
  options: TensorOptions,
): AsyncGenerator<TensorBatch> {
  for await (const batch of batches) {
    const [[, first], ...others] = batch;
    if (others.length === 0) {
      yield toTensor(first, options, path);
      continue;
    }
    const tensors: Record<string, tf.Tensor> = {};
    try {
      for (const [name, array] of batch) tensors[name] = toTensor(array, options, path);
    } catch (error) {
      for (const tensor of Object.values(tensors)) tensor.dispose();
      throw error;
    }
    yield tensors;
  }
}
