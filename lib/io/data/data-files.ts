/**
 * @file Files of model inputs as batches of tensors, by their extension: `.npy`, `.npz`, `.jsonl`, `.mjs`.
 */

import {extname} from 'node:path';

import {FileError} from '../../errors.js';
import type {ArraySource} from './array-batches.js';
import {dataModuleBatches} from './data-module.js';
import {jsonLinesFile} from './json-lines.js';
import {npyFile, npzFile} from './npy-files.js';
import {checkDataOptions, dataFile, type DataFile, type DataFileOptions} from './tensor-batches.js';

export type {TensorBatch} from './data-module.js';
export type {DataFile, DataFileOptions} from './tensor-batches.js';

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
  const batchSize = checkDataOptions('openDataFile', options);
  const extension = extname(path).toLowerCase();
  if (extension === '.mjs' || extension === '.js') {
    return {
      path,
      itemCount: () => Promise.resolve(undefined),
      holdsBytes: () => Promise.resolve(false),
      [Symbol.asyncIterator]: () => dataModuleBatches(path),
    };
  }
  return dataFile(path, openArrays(path, options.inputNames), batchSize, options);
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
