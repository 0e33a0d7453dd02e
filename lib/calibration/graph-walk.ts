/**
 * @file All batches of a data set on their way through a model's graph, one step at a time: what flows between two layers is
 * held for the whole data set, and nothing that no later layer reads.
 */
import * as tf from '@tensorflow/tfjs';
import type {Batches} from '../dataset.js';
import {runSteps, type GraphStep, type GraphValues} from '../model/graph-steps.js';
import {modelBatches} from './model-batches.js';
import {readTokenMask, type TokenMask, type TokenMaskOptions} from './token-mask.js';

/** A batch between two layers. */
export interface HeldBatch {
  /** What later layers read; owned. */
  readonly values: GraphValues;
  readonly mask: TokenMask | undefined;
}

/** The index of the last step that reads a tensor, by tensor. */
export type LastUse = ReadonlyMap<tf.SymbolicTensor, number>;

/** The last use of every tensor that steps read. */
export function lastUseIn(steps: readonly GraphStep[]): Map<tf.SymbolicTensor, number> {
  const lastUse = new Map<tf.SymbolicTensor, number>();
  steps.forEach(({inputs}, i) => inputs.forEach((input) => lastUse.set(input, i)));
  return lastUse;
}

/**
 * Reads a data set.
 *
 * @param batches Gets the batches, also those that were read before an error; the caller disposes their values.
 * @param needs As for `modelBatches`.
 * @throws {DatasetError} `empty`, or for a bad item; the signal's reason if it is aborted.
 */
export async function readBatches(
  model: tf.LayersModel,
  dataset: Batches,
  options: TokenMaskOptions & {readonly signal?: AbortSignal},
  lastUse: LastUse,
  batches: HeldBatch[],
  needs: string,
): Promise<void> {
  const {signal} = options;
  for await (const {item, index, tensors} of modelBatches(model, dataset, {signal}, needs)) {
    const mask = await readTokenMask(options, item, index);
    const read = model.inputs.flatMap((input, i) =>
      lastUse.has(input) ? [[input, tf.clone(tensors[i])] as const] : [],
    );
    batches.push({values: new Map(read), mask});
  }
}

/** Takes a batch through the step of this index and forgets what is not read any more. */
export function advance(step: GraphStep, index: number, {values}: HeldBatch, lastUse: LastUse): void {
  const outputs = step.outputs.filter((output) => lastUse.has(output));
  if (outputs.length > 0) {
    const results = runSteps(inputsOf(step, values), outputs);
    outputs.forEach((output, i) => values.set(output, results[i]));
  }
  for (const input of new Set(step.inputs)) {
    if (lastUse.get(input) !== index) continue;
    values.get(input)!.dispose();
    values.delete(input);
  }
}

/** What a step reads of the values. */
export function inputsOf(step: GraphStep, values: GraphValues): GraphValues {
  return new Map(step.inputs.map((input) => [input, values.get(input)!]));
}
