/**
 * @file Running a data set through a model batch by batch: what every pass shares, whatever it is for. Reads the
 * items, reports progress, stops when asked to, and names the batch that is bad.
 */
import * as tf from '@tensorflow/tfjs';
import type {Batches} from '../dataset.js';
import {DatasetError} from '../errors.js';
import {toModelInputs} from './model-inputs.js';
import {RowsLeft} from './reading.js';
import type {ActivationRecorder, Observation} from './recorder.js';
import {readTokenMask, rowsThatCount, type TokenMaskOptions} from './token-mask.js';

/** How far a pass over a data set is. */
export interface Progress {
  /** Batches done. */
  readonly done: number;
  /** Batches in all, or null where the data set does not tell. */
  readonly total: number | null;
}

export interface RunOptions extends TokenMaskOptions {
  /** Called after every batch. */
  readonly onProgress?: (progress: Progress) => void;
  /** Stops between two batches: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** What a model computes for every batch, to be the input of the model that continues it. */
export interface Carry {
  /** Of the model's graph. */
  readonly tensor: tf.SymbolicTensor;
  /** Given the tensor's value in the batch of this index, under the thresholds that the batch met; owns it. */
  take(value: tf.Tensor, index: number): void;
}

/** A batch's turn: records with the recorder that it picks. */
export interface Pass {
  /** The recorder for the batch of this index. */
  recorder(index: number): ActivationRecorder;
  /** Told of what each layer reads in the batch of this index, rows that do not count left out. */
  observe(observation: Observation, index: number): void;
  /** Given the tensor that the recorder carries out of the batch of this index, and owns it. */
  take?(carried: tf.Tensor, index: number): void;
  /** Called after every batch. */
  afterBatch?(): void;
}

/**
 * Runs every item of the data set through the recorder of `pass`.
 *
 * @throws {DatasetError} `empty`, `no-rows` where none counts, or what reading an item gives; the signal's reason if it is aborted.
 */
export async function runPass(
  model: tf.LayersModel,
  dataset: Batches,
  pass: Pass,
  options: RunOptions = {},
): Promise<void> {
  const {onProgress, signal, skipLeadingTokens} = options;
  const left = new RowsLeft();
  let index = 0;
  signal?.throwIfAborted();
  for await (const item of dataset.getInferenceData()) {
    const mask = await readTokenMask(options, item, index);
    const inputs = toModelInputs(model, item, index);
    try {
      const carried = await pass.recorder(index).record(inputs.tensors, (observation) => {
        const values = rowsThatCount(observation.values, observation.shape, mask, skipLeadingTokens);
        left.note(observation.stream.paths[0], observation.values, values);
        pass.observe({...observation, values}, index);
      });
      if (carried !== null) pass.take?.(carried, index);
    } finally {
      inputs.dispose();
    }
    pass.afterBatch?.();
    index++;
    onProgress?.({done: index, total: dataset.length});
    await tf.nextFrame(); // so that timers and signals get their turn
    signal?.throwIfAborted();
  }
  if (index === 0) {
    throw new DatasetError(
      'empty',
      'the data set is empty: calibration and measuring need at least one batch; a one-shot iterator that was read ' +
        'before gives nothing, pass an array or an object with Symbol.iterator instead',
    );
  }
  left.check();
}
