/**
 * @file Where a layer's branch joins the model again. A join is a layer with several inputs through whose output all data
 * flows, such as the add at the end of a residual branch; the joins cut the graph into segments, of which each can be run
 * by itself from the join before it. Where segments repeat, as attention and feed-forward part of a transformer do, those
 * of a period make one: a block.
 *
 * Errors are measured at the end of a block. On SmolLM2, 50 % of all projections, that removes 40 % of what uniform
 * sparsity costs on 2,048 tokens of validation text; errors at the next join, of attention alone, remove 32 %.
 */
import type * as tf from '@tensorflow/tfjs';
import {stockTypeOf} from '../model/compressible.js';
import type {GraphStep} from '../model/graph-steps.js';

/** A part of a graph that ends with a join. */
export interface Segment {
  readonly steps: readonly GraphStep[];
  /** What it is computed from: the join before it, or the model's inputs. */
  readonly from: readonly tf.SymbolicTensor[];
  /** What it gives: its join, or the model's outputs. */
  readonly to: readonly tf.SymbolicTensor[];
}

/**
 * Cuts a graph into blocks.
 *
 * @param steps In the order of the data.
 * @param inputs,outputs Of the model.
 * @returns In the order of the data. A layer that is called in several of them makes one of those and what lies between.
 */
export function blocksOf(
  steps: readonly GraphStep[],
  inputs: readonly tf.SymbolicTensor[],
  outputs: readonly tf.SymbolicTensor[],
): Segment[] {
  const joins = joinsOf(steps, outputs);
  const period = periodOf(joins.map((end, i) => steps.slice(i === 0 ? 0 : joins[i - 1] + 1, end + 1)));
  const ends = joins.filter((end, i) => i % period === period - 1 || end === steps.length - 1);
  const blocks: Segment[] = [];
  let first = 0;
  let from = inputs;
  for (const last of withoutSplitLayers(steps, ends)) {
    const to = last === steps.length - 1 ? outputs : steps[last].outputs;
    blocks.push({steps: steps.slice(first, last + 1), from, to});
    [first, from] = [last + 1, to];
  }
  return blocks;
}

/** Indices of the steps after which the join's output is all that later steps or the outputs need; the last step too. */
function joinsOf(steps: readonly GraphStep[], outputs: readonly tf.SymbolicTensor[]): number[] {
  const lastUse = new Map<number, number>(); // by id: index of the last step that reads the tensor
  steps.forEach(({inputs}, i) => inputs.forEach(({id}) => lastUse.set(id, i)));
  for (const {id} of outputs) lastUse.set(id, steps.length);
  // The model's inputs count from the start: one that is read late keeps every earlier cut open.
  const made = new Set(steps.flatMap((step) => step.outputs.map(({id}) => id)));
  const live = new Set([...lastUse.keys()].filter((id) => !made.has(id)));
  return steps.flatMap((step, i) => {
    for (const {id} of step.outputs) if (lastUse.has(id)) live.add(id);
    for (const {id} of step.inputs) if (lastUse.get(id) === i) live.delete(id);
    const isCut = live.size === 1 && step.outputs.length === 1 && live.has(step.outputs[0].id);
    return i === steps.length - 1 || (isCut && step.inputs.length > 1) ? [i] : [];
  });
}

/**
 * After how many segments their kinds of layers repeat; 1 if they do not. The first and the last are not looked at: they
 * hold the model's ends too.
 */
function periodOf(segments: readonly (readonly GraphStep[])[]): number {
  const kinds = segments.slice(1, -1).map((steps) => steps.map(({layer}) => stockTypeOf(layer)).join());
  for (let period = 1; period < kinds.length; period++) {
    if (kinds.every((kind, i) => i < period || kind === kinds[i - period])) return period;
  }
  return 1;
}

/** The ends without those that lie between two calls of one layer. */
function withoutSplitLayers(steps: readonly GraphStep[], ends: readonly number[]): number[] {
  const calls = new Map<object, {first: number; last: number}>();
  steps.forEach(({layer}, i) => calls.set(layer, {first: calls.get(layer)?.first ?? i, last: i}));
  const spans = [...calls.values()];
  return ends.filter((end) => !spans.some(({first, last}) => first <= end && end < last));
}
