/** @file What a model is timed on: one prediction's inputs, and data that thresholds are found on. */
import * as tf from '@tensorflow/tfjs';
import {firstItems} from '../calibration/model-batches.js';
import {toBatches, type Batches} from '../dataset.js';
import {DatasetError} from '../errors.js';
import {randomInputs} from '../eval/random-inputs.js';
import {isTextFile, openData, type TextOptions} from './data.js';

/** Thresholds are found on so many items, and on no more batches than that. */
const CALIBRATION_ITEMS = 256;
const CALIBRATION_BATCHES = 16;

/** One token: what decoding gives a layer. */
export const BENCH_SEQUENCE_LENGTH = 1;

/** Where the inputs come from. */
export interface BenchInputOptions extends TextOptions {
  /** Random values without it. */
  readonly data?: string;
  readonly scale?: number;
  /** Items in one prediction. */
  readonly rows: number;
}

/** Of one prediction, and for calibration. */
export interface BenchInputs {
  /** Of one prediction. */
  readonly tensors: tf.Tensor[];
  readonly calibration: Batches;
  dispose(): void;
}

/**
 * Opens them.
 *
 * @throws {DatasetError} `too-few-items`, `empty`, `data-needed` for a model of ids without data.
 */
export async function openBenchInputs(
  model: tf.LayersModel,
  options: BenchInputOptions,
): Promise<BenchInputs> {
  const {data, scale, rows} = options;
  if (data === undefined) {
    const tensors = randomInputs(model, rows);
    const calibration = randomInputs(model, CALIBRATION_ITEMS, 1000);
    return {
      tensors,
      calibration: toBatches([calibration]),
      dispose: () => tf.dispose([tensors, calibration]),
    };
  }
  const batchSize = Math.max(rows, CALIBRATION_ITEMS / CALIBRATION_BATCHES);
  const text = isTextFile(data)
    ? {
        sequences: CALIBRATION_ITEMS,
        ...options,
        sequenceLength: options.sequenceLength ?? BENCH_SEQUENCE_LENGTH,
      }
    : options;
  const {sequenceLength, sequences} = text;
  const limits = {batches: CALIBRATION_BATCHES, sequenceLength, sequences};
  const calibration = await openData(model, {data, scale, batchSize, ...limits});
  const nothing = `${data} is empty: there is nothing to time the model on`;
  const tensors = await firstItems(model, calibration, rows, nothing);
  const [items] = tensors[0].shape;
  if (items < rows) {
    tf.dispose(tensors);
    throw new DatasetError(
      'too-few-items',
      `--rows is ${rows}, and the first batch of ${data} has ${items} item${items === 1 ? '' : 's'}: ask for at most ` +
        'as many',
      {rows, items},
    );
  }
  return {tensors, calibration, dispose: () => tf.dispose(tensors)};
}
