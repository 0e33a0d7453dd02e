/** @file How sparse the inputs of a language model's layers were while a decoder ran: per layer, per group, on average. */
import type * as tf from '@tensorflow/tfjs';
import type {LayerSparsity} from '../../eval/measure-sparsity.js';
import {maskingLayers} from '../../model/dense-layers.js';
import type {MaskedCount} from '../decoding/decoder.js';

/** Layers with one role: `up_proj`, `down_proj`, `experts.w1`, … */
export interface GroupSparsity {
  readonly group: string;
  /** How many layers it has. */
  readonly layers: number;
  /** Mean of its layers, in [0, 1]. */
  readonly actual: number;
}

export interface SparsityReport {
  /** Mean over the sparsified layers, in [0, 1]: "average activation sparsity" of NNCF's tables. */
  readonly mean: number;
  readonly groups: readonly GroupSparsity[];
  readonly layers: readonly LayerSparsity[];
}

/**
 * The report of what a decoder counted.
 *
 * @param counts By path, as `Decoder.counts` gives them.
 * @returns Null if no layer of the model is sparsified.
 */
export function sparsityReport(
  model: tf.LayersModel,
  counts: ReadonlyMap<string, MaskedCount>,
): SparsityReport | null {
  const layers = [...maskingLayers(model)].map(([path, {targetSparsity}]): LayerSparsity => {
    const {masked, total} = counts.get(path) ?? {masked: 0, total: 0};
    return {path, target: targetSparsity, actual: total === 0 ? 0 : masked / total};
  });
  if (layers.length === 0) return null;
  const groups = new Map<string, number[]>();
  for (const {path, actual} of layers) {
    const group = groupOf(path);
    groups.set(group, [...(groups.get(group) ?? []), actual]);
  }
  return {
    mean: mean(layers.map(({actual}) => actual)),
    groups: [...groups].map(([group, shares]) => ({group, layers: shares.length, actual: mean(shares)})),
    layers,
  };
}

/** What layers of the same role have in common: the last part of the path, without the expert's number. */
export function groupOf(path: string): string {
  const [, expert, name] = /(?:(experts)\.\d+\.)?([^./]+)$/.exec(path) ?? [null, undefined, path];
  return expert === undefined ? name : `${expert}.${name}`;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
