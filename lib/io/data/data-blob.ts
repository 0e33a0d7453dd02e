/**
 * @file Data that a page has as a blob, a dropped file or a fetched one, as batches of tensors: `.npy`, read in batches, and
 * `.json`, read whole. No module of Node.
 */

import {FileError} from '../../errors.js';
import {ByteReader} from '../files/byte-reader.js';
import type {ArraySource} from './array-batches.js';
import {flattenNumbers} from './nested-numbers.js';
import {arraySource, openArray} from './open-arrays.js';
import {checkDataOptions, dataFile, type DataFile, type DataFileOptions} from './tensor-batches.js';

/** Large enough for the disk, small beside any batch. */
const CHUNK_BYTES = 1024 ** 2;

const FORMATS = ['.npy', '.json'] as const;

/**
 * Opens a blob of inputs: the items of a `.npy` array, or of a JSON array, which are equally nested arrays of numbers.
 *
 * @param blob The file's content; a dropped `File`, or what `response.blob()` gave.
 * @param name Its name, whose extension tells the format.
 * @param options Batch size (32 by default), scale, dtype.
 * @returns An async iterable as of `openDataFile`. The consumer disposes the tensors of each batch.
 * @throws {FileError} `unsupported-format` at once for another extension, `bad-option`; while iterating `malformed-json`,
 *   `malformed-item`, `ragged-item`, or the codes of `.npy`.
 * @example
 * const data = openDataBlob(file, file.name, {batchSize: 100, scale: 1 / 255});
 * const sparse = await sparsifyActivations(model, data, {targetSparsityByScope: {'.*': 0.5}});
 */
export function openDataBlob(
  blob: Blob,
  name: string,
  options: Omit<DataFileOptions, 'inputNames'> = {},
): DataFile {
  const batchSize = checkDataOptions('openDataBlob', options);
  return dataFile(name, arraysOf(blob, name), batchSize, options);
}

function arraysOf(blob: Blob, name: string): ArraySource {
  switch (FORMATS.find((ending) => name.toLowerCase().endsWith(ending))) {
    case '.npy':
      return arraySource(name, async () => [
        await openArray('', new ByteReader(blobChunks(blob), name), blob.size),
      ]);
    case '.json':
      return jsonArray(blob, name);
    case undefined:
      throw new FileError(
        'unsupported-format',
        `${name} is of no known format; known are ${FORMATS.join(', ')}`,
        {
          path: name,
          known: FORMATS,
        },
      );
  }
}

/** A JSON array of items; it is parsed at every walk, so that it does not stay in memory between two. */
function jsonArray(blob: Blob, name: string): ArraySource {
  return {
    itemCount: async () => (await readItems(blob, name)).shape[0],
    holdsBytes: () => Promise.resolve(false),
    async *batches(batchSize) {
      const {shape, values} = await readItems(blob, name);
      const [count, ...itemShape] = shape;
      const itemSize = values.length / count;
      for (let done = 0; done < count; done += batchSize) {
        const items = Math.min(batchSize, count - done);
        const taken = Float64Array.from(values.slice(done * itemSize, (done + items) * itemSize));
        yield new Map([['', {values: taken, shape: [items, ...itemShape], dtype: 'float32'}]]);
      }
    },
  };
}

async function readItems(blob: Blob, name: string) {
  const items = flattenNumbers(parse(await blob.text(), name), name);
  if (items.shape.length > 0) return items;
  throw new FileError('malformed-item', `${name} holds a number; it must be an array of items`, {path: name});
}

function parse(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new FileError(
      'malformed-json',
      `${name} is not JSON: write an array of items, each an array of numbers nested to any depth`,
      {path: name},
      {cause},
    );
  }
}

async function* blobChunks(blob: Blob): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < blob.size; start += CHUNK_BYTES) {
    yield new Uint8Array(await blob.slice(start, start + CHUNK_BYTES).arrayBuffer());
  }
}
