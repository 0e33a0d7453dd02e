/** @file How well a model does on labelled data: accuracy for classes, mean squared error for numbers. */
import * as tf from '@tensorflow/tfjs';
import {modelBatches, type WalkOptions} from '../calibration/model-batches.js';
import type {Batches} from '../dataset.js';
import {DatasetError} from '../errors.js';
import type {Labels} from '../io/data/labels.js';
import {checkUsable, ensureBuilt} from '../model/dense-layers.js';
import {floatsOf} from '../tensor-values.js';

export interface Quality {
  readonly metric: 'accuracy' | 'mean squared error';
  /** Share in [0, 1] of right classes, or the mean of the squared differences. */
  readonly value: number;
  /** Items that it is the mean of. */
  readonly items: number;
}

export interface QualityOptions extends WalkOptions {
  /** Whether the data set may end before the labels do. False by default. */
  readonly partial?: boolean;
}

/**
 * Runs a data set through a model and compares its (first) output with labels.
 *
 * @param dataset Batches as for `sparsifyActivations`, in the order of the labels.
 * @param labels Where the model has a single output, labels that are all 0 or 1 make it the probability of class 1,
 *   and other labels a number.
 * @throws {DatasetError} `labels-mismatch` if there are more or fewer items than labels, or the output has another
 *   shape; `nan`; `empty`; or what reading an item gives. {ModelError} if the model cannot be run.
 */
export async function measureQuality(
  model: tf.LayersModel,
  dataset: Batches,
  labels: Labels,
  {onProgress, signal, partial = false}: QualityOptions = {},
): Promise<Quality> {
  ensureBuilt(model);
  checkUsable(model);
  const asClasses =
    labels.kind === 'classes' && (outputWidth(model) !== 1 || labels.values.every((v) => v < 2));
  const score = asClasses ? classScore(labels.values) : valueScore(labels);
  let [items, sum] = [0, 0];
  for await (const {index, tensors} of modelBatches(model, dataset, {onProgress, signal})) {
    const outputs = [model.predictOnBatch(tensors.length === 1 ? tensors[0] : tensors)].flat();
    try {
      const values = floatsOf(await outputs[0].data());
      const count = outputs[0].shape[0];
      if (items + count > labels.shape[0])
        throw mismatch(`there are only ${labels.shape[0]} labels for the items`);
      sum += score(values, values.length / count, items, index);
      items += count;
    } finally {
      tf.dispose(outputs);
    }
  }
  if (items === 0) throw new DatasetError('empty', 'the data set is empty: there is nothing to measure');
  if (items < labels.shape[0] && !partial)
    throw mismatch(`there are ${labels.shape[0]} labels for ${items} items`);
  return {metric: asClasses ? 'accuracy' : 'mean squared error', value: sum / items, items};
}

/** Values of one item in the model's first output. */
function outputWidth(model: tf.LayersModel): number {
  return model.outputs[0].shape.slice(1).reduce<number>((product, extent) => product * (extent ?? 1), 1);
}

/** Sums the score of a batch: outputs [count, width], of which `first` is the index of its first item. */
type Score = (outputs: Float32Array, width: number, first: number, batch: number) => number;

function classScore(classes: ArrayLike<number>): Score {
  return (outputs, width, first, batch) => {
    let right = 0;
    for (let i = 0; i * width < outputs.length; i++) {
      const label = classes[first + i];
      if (label >= Math.max(width, 2) || label < 0) {
        throw mismatch(
          `label ${label} of item ${first + i} is no class of the model, whose output has ${width}`,
        );
      }
      const row = outputs.subarray(i * width, (i + 1) * width);
      if (row.some(Number.isNaN)) throw nanOutput(batch);
      // A single output is a probability of class 1.
      const predicted = width === 1 ? Number(row[0] > 0.5) : row.indexOf(Math.max(...row));
      if (predicted === label) right++;
    }
    return right;
  };
}

function valueScore({values, shape}: Labels): Score {
  const expected = values.length / shape[0];
  return (outputs, width, first, batch) => {
    if (outputs.some(Number.isNaN)) throw nanOutput(batch);
    if (width !== expected) {
      throw mismatch(`the model gives ${width} values an item and the labels have ${expected}`);
    }
    let sum = 0;
    for (let i = 0; i < outputs.length; i++) sum += (outputs[i] - values[first * width + i]) ** 2;
    return sum / width;
  };
}

function mismatch(what: string): DatasetError {
  return new DatasetError(
    'labels-mismatch',
    `${what}; labels and data must hold the same items in the same order, and classes count from 0`,
  );
}

function nanOutput(batch: number): DatasetError {
  return new DatasetError('nan', `batch ${batch} makes the model give NaN; remove or mend that batch`, {
    batch,
  });
}
