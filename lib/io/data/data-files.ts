/**
 * @file Files of model inputs as batches of tensors, by their extension: `.npy`, `.npz`, `.jsonl`, `.mjs`.
 */

import {extname} from 'node:path';

import type * as tf from '@tensorflow/tfjs';

import {FileError} from '../../errors.js';
import {CHECKED_LATER, NUMBER, TEXTS, checkOptions, oneOf, type OptionRules} from '../../option-rules.js';
import {toTensor, type ArrayBatch, type ArraySource, type TensorOptions} from './array-batches.js';
import {dataModuleBatches, type TensorBatch} from './data-module.js';
import {jsonLinesFile} from './json-lines.js';
import {npyFile, npzFile} from './npy-files.js';

export type {TensorBatch} from './data-module.js';

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

/** Extensions that `openDataFile` reads. */
const DATA_EXTENSIONS = ['.npy', '.npz', '.jsonl', '.ndjson', '.mjs', '.js'] as const;

/**
 * Opens a file of inputs. Nothing is read before the first batch is asked for, and never more than a batch.
 *
 * A file with one array gives tensors [items, ...]; one with several, by name, gives records of tensors.
 *
 * @param path A file with one of `DATA_EXTENSIONS`.
 * @param options Batch size (32 by default), names, scale, dtype. Scale, dtype and names do not concern a
 *     module, which makes its own tensors.
 * @returns An async iterable. The consumer disposes the tensors of each batch.
 * @throws FileError `unsupported-format` at once for another extension, `bad-option` for a batch size below 1;
 *     while iterating, the codes of the format for a malformed file, with the line or byte where it is.
 * @example
 * for await (const batch of openDataFile('images.npy', {batchSize: 100, scale: 1 / 255})) {
 *   // use the batch
 *   tf.dispose(batch);
 * }
 */
export function openDataFile(path: string, options: DataFileOptions = {}): DataFile {
  checkOptions('openDataFile', options, RULES);
  const {batchSize = 32, inputNames} = options;
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new FileError('bad-option', `batch size is ${batchSize}; it must be an integer of at least 1`, {
      batchSize,
    });
  }
  const extension = extname(path).toLowerCase();
  if (extension === '.mjs' || extension === '.js') {
    return {
      path,
      itemCount: () => Promise.resolve(undefined),
      holdsBytes: () => Promise.resolve(false),
      [Symbol.asyncIterator]: () => dataModuleBatches(path),
    };
  }
  const source = openArrays(path, inputNames);
  return {
    path,
    itemCount: () => source.itemCount(),
    holdsBytes: () => source.holdsBytes(),
    [Symbol.asyncIterator]: () => tensorBatches(source.batches(batchSize), path, options),
  };
}

/**
 * Opens a file of plain numbers.
 *
 * @param path A `.npy`, `.npz` or `.jsonl` file.
 * @param inputNames Which named arrays to read; all by default.
 * @param numbers Whether a JSON line may be a single number.
 * @throws FileError `unsupported-format`.
 */
export function openArrays(path: string, inputNames?: readonly string[], numbers = false): ArraySource {
  switch (extname(path).toLowerCase()) {
    case '.npy':
      return npyFile(path);
    case '.npz':
      return npzFile(path, inputNames);
    case '.jsonl':
    case '.ndjson':
      return jsonLinesFile(path, {inputNames, numbers});
    default:
      throw new FileError(
        'unsupported-format',
        `${path} is of no known format; known are ${DATA_EXTENSIONS.join(', ')}`,
        {path, known: DATA_EXTENSIONS},
      );
  }
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
