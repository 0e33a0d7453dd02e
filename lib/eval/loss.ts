/**
 * @file What a sparse model loses against the dense one on held-out data: right answers where there are labels, else how far
 * its outputs are from the dense ones.
 */
import * as tf from '@tensorflow/tfjs';
import type {LossMetric} from '../metadata/allocation.js';
import type {LossMeasure, MeasuredLoss, MeasureOptions} from '../allocation/measures.js';
import {modelBatches} from '../calibration/model-batches.js';
import {DatasetError, SparsifyError} from '../errors.js';
import type {Labels} from '../io/data/labels.js';
import {probabilityOf} from '../model/probability.js';
import {denseCopy} from './dense-copy.js';
import {nothingHeldOut, type HeldOut} from './held-out.js';

/** One value for each row, or item, of a batch: [rows]. */
type RowLoss = (dense: tf.Tensor, sparse: tf.Tensor) => tf.Tensor;

const SMALLEST = 1e-9;

/**
 * How far the (first) output is from the dense model's: the Kullback-Leibler divergence where it ends with softmax or
 * sigmoid, else the relative squared error.
 *
 * @param model Before it is sparsified, or after; must outlive the measure.
 */
export function divergenceLoss(model: tf.LayersModel, data: HeldOut): LossMeasure {
  const activation = probabilityOf(model.outputs[0].sourceLayer);
  const metric: LossMetric = activation === null ? 'relative squared error' : 'KL divergence';
  const rowLoss =
    activation === null ? squaredError : activation === 'softmax' ? divergence : binaryDivergence;
  return {metric, measure: (sparse, options) => measure(model, sparse, data, () => rowLoss, options)};
}

/**
 * How many right answers are lost.
 *
 * @param labels Classes, in the order of the data; of the whole data set, also where only a part is held out.
 * @throws {SparsifyError} `bad-option` for labels that are no classes; {DatasetError} `labels-mismatch` for a class that the
 *   model does not have.
 */
export function accuracyLoss(model: tf.LayersModel, data: HeldOut, labels: Labels): LossMeasure {
  if (labels.kind !== 'classes') {
    throw new SparsifyError(
      'bad-option',
      'the labels are numbers, and a loss in accuracy needs classes: leave the labels out to measure how far the ' +
        "outputs are from the dense model's",
    );
  }
  const {values} = labels;
  const extents = model.outputs[0].shape.slice(1);
  if (!extents.includes(null)) checkClasses(values, 0, sizeOf(extents));
  const rowLoss = (first: number): RowLoss => {
    return (dense, sparse) => {
      const count = dense.shape[0];
      if (first + count > values.length) {
        throw new DatasetError(
          'labels-mismatch',
          `there are only ${values.length} labels for the items; labels and data must hold the same items in the same order`,
        );
      }
      const own = values.subarray(first, first + count);
      checkClasses(own, first, dense.size / count);
      const wanted = tf.tensor1d(own, 'int32');
      return tf.sub(rightOf(dense, wanted), rightOf(sparse, wanted));
    };
  };
  return {
    metric: 'accuracy points',
    measure: (sparse, options) => measure(model, sparse, data, rowLoss, options),
  };
}

/** The mean over the rows of the held-out batches. */
async function measure(
  model: tf.LayersModel,
  sparse: tf.LayersModel,
  data: HeldOut,
  rowLoss: (firstItem: number) => RowLoss,
  {onProgress, signal}: MeasureOptions = {},
): Promise<MeasuredLoss> {
  const dense = denseCopy(model);
  let [rows, sum, squares, items] = [0, 0, 0, 0];
  try {
    for await (const {index, tensors} of modelBatches(dense, data.batches, {onProgress, signal})) {
      const given = tensors.length === 1 ? tensors[0] : tensors;
      if (data.isHeldOut(index)) {
        const values = tf.tidy(() => {
          const [expected] = [dense.predictOnBatch(given)].flat();
          const [got] = [sparse.predictOnBatch(given)].flat();
          return rowLoss(items)(expected, got);
        });
        const losses = await values.data();
        values.dispose();
        for (const value of losses) {
          if (!Number.isFinite(value)) throw notFinite(index);
          [rows, sum, squares] = [rows + 1, sum + value, squares + value ** 2];
        }
      }
      items += tensors[0].shape[0];
    }
  } finally {
    dense.dispose();
  }
  if (rows === 0) throw nothingHeldOut();
  const loss = sum / rows;
  return {loss, error: rows < 2 ? null : Math.sqrt(Math.max(0, squares / rows - loss ** 2) / (rows - 1))};
}

/** Σ p log(p / q) over the last dimension. */
function divergence(dense: tf.Tensor, sparse: tf.Tensor): tf.Tensor {
  const [p, q] = [dense, sparse].map((values) => tf.clipByValue(values, SMALLEST, 1));
  return tf.reshape(tf.sum(tf.mul(p, tf.sub(tf.log(p), tf.log(q))), -1), [-1]);
}

/** The same for independent probabilities, over an item's outputs. */
function binaryDivergence(dense: tf.Tensor, sparse: tf.Tensor): tf.Tensor {
  const [p, q] = [dense, sparse].map((values) => tf.clipByValue(values, 1e-7, 1 - 1e-7));
  const part = (a: tf.Tensor, b: tf.Tensor) => tf.mul(a, tf.sub(tf.log(a), tf.log(b)));
  const all = tf.add(part(p, q), part(tf.sub(1, p), tf.sub(1, q)));
  return tf.sum(tf.reshape(all, [dense.shape[0], -1]), -1);
}

/** ||y' - y||² of an item over the mean ||y||² of the batch. */
function squaredError(dense: tf.Tensor, sparse: tf.Tensor): tf.Tensor {
  const [a, b] = [dense, sparse].map((values) => tf.reshape(values, [dense.shape[0], -1]));
  const norm = tf.maximum(tf.mean(tf.sum(tf.square(a), -1)), 1e-30);
  return tf.div(tf.sum(tf.squaredDifference(a, b), -1), norm);
}

/** 1 for each item whose likeliest class is the wanted one, else 0; NaN where an output is: [items]. */
function rightOf(outputs: tf.Tensor, wanted: tf.Tensor): tf.Tensor {
  const right = tf.cast(tf.equal(classesOf(outputs), wanted), 'float32');
  const isBad = tf.any(tf.isNaN(tf.reshape(outputs, [outputs.shape[0], -1])), -1);
  return tf.where(isBad, tf.fill(right.shape, NaN), right);
}

/**
 * A label that no output can be would count as wrong at every sparsity, and cost nothing.
 *
 * @param first Index of the first label's item.
 * @param width Values of one item in the model's output.
 */
function checkClasses(labels: Int32Array, first: number, width: number): void {
  const count = Math.max(2, width);
  const at = labels.findIndex((label) => !(label >= 0 && label < count));
  if (at < 0) return;
  const has = width === 1 ? 'a single output, the probability of class 1' : `${width} classes`;
  throw new DatasetError(
    'labels-mismatch',
    `label ${labels[at]} of item ${first + at} is no class of the model, which has ${has}: classes count from 0; leave the ` +
      "labels out to measure how far the outputs are from the dense model's",
    {label: labels[at], item: first + at, classes: count},
  );
}

function sizeOf(extents: readonly (number | null)[]): number {
  return extents.reduce<number>((product, extent) => product * extent!, 1);
}

/** The likeliest class of each item, int32 [items]; a single output is the probability of class 1. */
function classesOf(outputs: tf.Tensor): tf.Tensor {
  const rows = tf.reshape(outputs, [outputs.shape[0], -1]);
  if (rows.shape[1] === 1) return tf.cast(tf.reshape(tf.greater(rows, 0.5), [-1]), 'int32');
  return tf.cast(tf.argMax(rows, -1), 'int32');
}

function notFinite(index: number): DatasetError {
  return new DatasetError(
    'nan',
    `batch ${index} makes the model give NaN or Infinity; remove or mend that batch`,
    {
      index,
    },
  );
}
