/**
 * @file The walk of a data set through a model, for every pass over it: each item becomes the model's input tensors, which
 * are freed after their turn; progress is told and an abort is heard between two batches.
 */
import * as tf from '@tensorflow/tfjs';
import {nextTurn} from '../event-loop.js';
import type {Batches} from '../dataset.js';
import {DatasetError} from '../errors.js';
import {toModelInputs} from './model-inputs.js';

/** How far a pass over a data set is. */
export interface Progress {
  /** Batches done. */
  readonly done: number;
  /** Batches in all, or null where the data set does not tell. */
  readonly total: number | null;
}

export interface WalkOptions {
  /** Called after every batch. */
  readonly onProgress?: (progress: Progress) => void;
  /** Stops between two batches: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** A batch on its way through a model. */
export interface ModelBatch {
  /** Of the batch in the data set, from 0. */
  readonly index: number;
  /** As the data set gave it. */
  readonly item: unknown;
  /** In the order of the model's inputs; freed when the walk goes on. */
  readonly tensors: tf.Tensor[];
}

/**
 * Walks a data set, one batch at a time. A walk may be left before its end.
 *
 * @param needs What needs at least one batch, for the error: 'calibration needs'. Without it an empty data set is none.
 * @throws {DatasetError} `empty`, or what reading an item gives; the signal's reason if it is aborted.
 */
export async function* modelBatches(
  model: tf.LayersModel,
  dataset: Batches,
  {onProgress, signal}: WalkOptions = {},
  needs?: string,
): AsyncGenerator<ModelBatch, void, undefined> {
  let index = 0;
  signal?.throwIfAborted();
  for await (const item of dataset.getInferenceData()) {
    const inputs = toModelInputs(model, item, index);
    try {
      yield {index, item, tensors: inputs.tensors};
    } finally {
      inputs.dispose();
    }
    index++;
    onProgress?.({done: index, total: dataset.length});
    await nextTurn(); // so that timers and signals get their turn
    signal?.throwIfAborted();
  }
  if (index === 0 && needs !== undefined) {
    throw new DatasetError(
      'empty',
      `the data set is empty: ${needs} at least one batch; a one-shot iterator that was read before gives nothing, pass ` +
        'an array or an object with Symbol.iterator instead',
    );
  }
}

/**
 * The first items of a data set, as the inputs of one prediction.
 *
 * @param rows At most so many.
 * @param empty What to say of a data set without a batch.
 * @returns In the order of the model's inputs; the caller disposes them.
 * @throws {DatasetError} `empty`.
 */
export async function firstItems(
  model: tf.LayersModel,
  dataset: Batches,
  rows: number,
  empty = 'the data set is empty: there is nothing to time the model on',
): Promise<tf.Tensor[]> {
  for await (const {tensors} of modelBatches(model, dataset)) {
    return tensors.map((tensor) => tf.slice(tensor, 0, Math.min(rows, tensor.shape[0])));
  }
  throw new DatasetError('empty', empty);
}
