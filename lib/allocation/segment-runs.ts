/** @file Takes batches through a model segment by segment, dense, for whoever then tries masks in each. */
import type * as tf from '@tensorflow/tfjs';
import {modelBatches} from '../calibration/model-batches.js';
import type {RunOptions} from '../calibration/recording-pass.js';
import {readTokenMask} from '../calibration/token-mask.js';
import type {Batches} from '../dataset.js';
import {DatasetError} from '../errors.js';
import {cloneModel} from '../model/clone.js';
import {makeSparsifying} from '../model/dense-layers.js';
import type {GraphValues} from '../model/graph-steps.js';
import {DenseSegment} from './dense-segment.js';
import {probePlan, type SegmentPlan} from './probe-plan.js';

/** What is done with each segment of each batch. */
export interface SegmentVisitor {
  /** The thresholds of its layers are -Infinity, and should be afterwards. */
  visit(plan: SegmentPlan, dense: DenseSegment): Promise<void>;
  /** Whether batches enough were seen; asked after each. */
  isDone(): boolean;
}

/**
 * Runs batches through a copy of a model until the visitor has seen enough.
 *
 * @param model Left as it is; layers of `paths` that are sparsified count as dense.
 * @param paths Of Dense layers.
 * @throws {DatasetError} `empty`, `nan`, or for a bad item; the signal's reason.
 */
export async function runSegments(
  model: tf.LayersModel,
  paths: ReadonlySet<string>,
  dataset: Batches,
  visitor: SegmentVisitor,
  options: RunOptions = {},
): Promise<void> {
  const copy = cloneModel(model);
  try {
    makeSparsifying(copy, paths);
    const plan = probePlan(copy, paths);
    for (const {probes} of plan) for (const {layer} of probes) layer.setThreshold(-Infinity);
    const {signal, skipLeadingTokens} = options;
    for await (const {item, index, tensors} of modelBatches(copy, dataset, {signal}, 'allocating needs')) {
      const mask = await readTokenMask(options, item, index);
      const given = new Map(copy.inputs.map((input, i) => [input, tensors[i]]));
      try {
        await runBatch(plan, given, {mask, skipLeadingTokens}, visitor);
      } catch (error) {
        throw error instanceof DatasetError && error.code === 'nan' ? nanError(error, index) : error;
      }
      if (visitor.isDone()) break;
    }
  } finally {
    copy.dispose();
  }
}

async function runBatch(
  plan: readonly SegmentPlan[],
  inputs: GraphValues,
  counted: Parameters<typeof DenseSegment.run>[2],
  visitor: SegmentVisitor,
): Promise<void> {
  let before: DenseSegment | null = null;
  try {
    for (const segment of plan) {
      const dense: DenseSegment = await DenseSegment.run(segment, before?.results ?? inputs, counted);
      before?.dispose();
      before = dense;
      await visitor.visit(segment, dense);
    }
  } finally {
    before?.dispose();
  }
}

function nanError(error: DatasetError, index: number): DatasetError {
  return new DatasetError(
    'nan',
    `in batch ${index}: ${error.message}; remove or mend that batch, or see whether the model overflows on it`,
    {index},
    {cause: error},
  );
}
