/**
 * @file A JavaScript module as a data file: its default export is a data set, an iterable of batches, or a
 * function that returns one. The module runs with the rights of this process: only load modules you trust.
 */

import {resolve} from 'node:path';
import {pathToFileURL} from 'node:url';

import * as tf from '@tensorflow/tfjs';

import type {Batches} from '../../dataset.js';
import {FileError} from '../../errors.js';
import {fileFailure} from '../files/file-failure.js';
import {flattenNumbers} from './nested-numbers.js';

/** A batch as models take it. */
export type TensorBatch = tf.Tensor | Record<string, tf.Tensor>;

/**
 * Iterates over the data that a module exports, from its start. Tensors of an exported array or `Dataset` are cloned, so
 * that they are there for the next pass; those of a function, a generator or a `tf.data.Dataset` are handed
 * over.
 *
 * @param path The module.
 * @returns Batches, whose tensors the consumer disposes.
 * @throws FileError `malformed-module` if there is no such export or an item is no batch, `one-shot` if a
 *     generator object is iterated again.
 */
export async function* dataModuleBatches(path: string): AsyncGenerator<TensorBatch> {
  const exported = await defaultExport(path);
  const data = isMaker(exported) ? await exported() : exported;
  const keep = (Array.isArray(data) && data === exported) || isDataset(data);
  let index = 0;
  for await (const item of iterate(data, path)) {
    yield toBatch(item, keep, `${path}, item ${index}`);
    index++;
  }
}

/** Generators that were iterated already: a second time they would give nothing, in silence. */
const spent = new WeakSet<object>();

async function defaultExport(path: string): Promise<unknown> {
  let module: Record<string, unknown>;
  try {
    module = (await import(pathToFileURL(resolve(path)).href)) as Record<string, unknown>;
  } catch (cause) {
    const failure = fileFailure(path, cause);
    if (failure instanceof FileError) throw failure;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FileError('malformed-module', `${path} cannot be imported (${reason})`, {path}, {cause});
  }
  if (module['default'] === undefined) {
    throw new FileError(
      'malformed-module',
      `${path} has no default export: write \`export default\` before the data`,
      {path},
    );
  }
  return module['default'];
}

async function* iterate(data: unknown, path: string): AsyncGenerator {
  if (typeof data === 'object' && data !== null) {
    if (spent.has(data)) {
      throw new FileError(
        'one-shot',
        `${path} exports a generator that is used up: export the function that makes it`,
        {path},
      );
    }
    if (isDataset(data)) {
      if (data.reiterable === false) spent.add(data);
      yield* data.getInferenceData(); // its tensors are lent, and cloned above
      return;
    }
    if (isAsyncIterable(data) || isIterable(data)) {
      if (isIterator(data)) spent.add(data);
      yield* data;
      return;
    }
    if (isTfDataset(data)) {
      const iterator = await data.iterator();
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
      return;
    }
  }
  throw new FileError(
    'malformed-module',
    `the default export of ${path} is no data: export an array, a generator function, a Dataset, a tf.data.Dataset or an iterable`,
    {path},
  );
}

function toBatch(item: unknown, keep: boolean, where: string): TensorBatch {
  if (item instanceof tf.Tensor) return keep ? item.clone() : item;
  if (Array.isArray(item)) {
    const {values, shape} = flattenNumbers(item, where); // tf.tensor would take ragged arrays
    return tf.tensor(Float32Array.from(values), [...shape], 'float32');
  }
  if (typeof item === 'object' && item !== null) {
    const entries = Object.entries(item);
    if (entries.length > 0 && entries.every(([, value]) => value instanceof tf.Tensor)) {
      const tensors = entries as [string, tf.Tensor][];
      return Object.fromEntries(tensors.map(([name, tensor]) => [name, keep ? tensor.clone() : tensor]));
    }
  }
  throw new FileError(
    'malformed-module',
    `${where} is no batch: give a tensor, an array of numbers, or tensors by input name`,
    {
      where,
    },
  );
}

function isMaker(exported: unknown): exported is () => unknown {
  return typeof exported === 'function';
}

/** A `Dataset` of this package, perhaps of another copy of it. */
function isDataset(data: unknown): data is Batches & {readonly reiterable?: boolean} {
  return (
    typeof data === 'object' &&
    data !== null &&
    'getInferenceData' in data &&
    typeof data.getInferenceData === 'function'
  );
}

function isAsyncIterable(data: object): data is AsyncIterable<unknown> {
  return Symbol.asyncIterator in data;
}

function isIterable(data: object): data is Iterable<unknown> {
  return Symbol.iterator in data;
}

/** A generator object is its own iterator, so it goes through its data once. */
function isIterator(data: object): boolean {
  return 'next' in data && typeof data.next === 'function';
}

function isTfDataset(
  data: object,
): data is {iterator(): Promise<{next(): Promise<IteratorResult<unknown>>}>} {
  return 'iterator' in data && typeof data.iterator === 'function';
}
