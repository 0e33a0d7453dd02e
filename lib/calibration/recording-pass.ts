/** @file A pass over a data set in which recorders tell what the layers of a model read, batch by batch. */
import type * as tf from '@tensorflow/tfjs';
import type {Batches} from '../dataset.js';
import {modelBatches, type WalkOptions} from './model-batches.js';
import {RowsLeft} from './activation-errors.js';
import type {ActivationRecorder, Observation} from './recorder.js';
import {readTokenMask, rowsThatCount, type TokenMaskOptions} from './token-mask.js';

export interface RunOptions extends WalkOptions, TokenMaskOptions {}

/** What a model computes for every batch, to be the input of the model that continues it. */
export interface CarriedTensor {
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
  const {skipLeadingTokens} = options;
  const left = new RowsLeft();
  const batches = modelBatches(model, dataset, options, 'calibration and measuring need');
  for await (const {item, index, tensors} of batches) {
    const mask = await readTokenMask(options, item, index);
    const carried = await pass.recorder(index).record(tensors, (observation) => {
      const values = rowsThatCount(observation.values, observation.shape, mask, skipLeadingTokens);
      left.note(observation.stream.paths[0], observation.values, values);
      pass.observe({...observation, values}, index);
    });
    if (carried !== null) pass.take?.(carried, index);
    pass.afterBatch?.();
  }
  left.check();
}
