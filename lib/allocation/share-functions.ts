/** @file Each method of allocation as a function from a mean sparsity to the share of each layer. */
import type {LayerProbe, ProbeErrors} from '../metadata/allocation.js';
import type {LayerBounds} from './bounds.js';
import {attainable} from './attainable.js';
import {predictedError} from './error-law.js';
import {knapsack} from './knapsack.js';

/** A layer that takes part in an allocation, with what its share counts in the mean. */
export interface WeightedLayer extends LayerBounds {
  readonly path: string;
  /** Weights of its kernel. */
  readonly weights: number;
  /** What its share counts in the mean: its weights, or its time. Above 0. */
  readonly size: number;
}

/**
 * From a mean sparsity to that of each layer, in the order of the layers. Beyond what the bounds allow it gives what comes
 * nearest.
 */
export type ShareFunction = (sparsity: number) => number[];

/** Every layer the same, as far as its bounds allow. */
export function uniformShares(layers: readonly WeightedLayer[]): ShareFunction {
  return levelShares(layers, (level) => layers.map(({minimum, maximum}) => clamp(level, minimum, maximum)));
}

/**
 * One level for all layers: it moves away from the mean where bounds hold some of them back.
 *
 * @param at The shares at a level in [0, 1]; none of them falls as the level rises.
 */
export function levelShares(
  layers: readonly WeightedLayer[],
  at: (level: number) => number[],
): ShareFunction {
  return (sparsity) => {
    let [low, high] = [0, 1];
    if (meanOf(layers, at(sparsity)) === sparsity) return at(sparsity);
    // The level is found by halving, to the last bit that matters.
    for (let i = 0; i < 40; i++) {
      const middle = (low + high) / 2;
      if (meanOf(layers, at(middle)) < sparsity) low = middle;
      else high = middle;
    }
    return at((low + high) / 2);
  };
}

/**
 * Least sum of the errors that the law predicts. Where layers cannot have their share, since many of their inputs have one
 * magnitude, others take it over if that loses hardly more than to ask the mean of every layer and to be content with what
 * each can have of it; else the mean is what that gives.
 */
export function lawShares(layers: readonly WeightedLayer[], probes: ProbeErrors): ShareFunction {
  const byPath = probesByPath(probes);
  const items = layers.map(({path, size, minimum, maximum}) => ({
    size,
    minimum,
    maximum,
    gaps: byPath.get(path)!.inputs?.gaps,
    loss: (sparsity: number) => predictedError(byPath.get(path)!, probes, sparsity),
  }));
  const spend = knapsack(items);
  if (items.every(({gaps = []}) => gaps.length === 0)) return spend;
  const uniform = uniformShares(layers);
  const loss = (shares: readonly number[]) => items.reduce((sum, item, i) => sum + item.loss(shares[i]), 0);
  return (sparsity) => {
    const had = uniform(sparsity).map((share, i) => attainable(items[i].gaps, share));
    const [reached, most] = [meanOf(layers, had), loss(had)];
    const shares = spend(sparsity);
    return reached >= sparsity - SAME_MEAN || loss(shares) <= DEAREST * most ? shares : spend(reached);
  };
}

/** So much more than all layers alike, with what each can have, may it lose to reach the mean all the same. */
const DEAREST = 1.25;

/** Means that differ by less are one. */
export const SAME_MEAN = 0.005;

/** The error that the law predicts for each layer at its share; null for layers without probe. */
export function predictedErrors(
  layers: readonly WeightedLayer[],
  probes: ProbeErrors | null,
  shares: readonly number[],
): (number | null)[] {
  if (probes === null) return layers.map(() => null);
  const byPath = probesByPath(probes);
  return layers.map(({path}, i) => {
    const probe = byPath.get(path);
    return probe === undefined ? null : predictedError(probe, probes, shares[i]);
  });
}

/** Mean of the layers' shares, weighted by a field. */
export function meanOf(
  layers: readonly WeightedLayer[],
  shares: readonly number[],
  by: 'size' | 'weights' = 'size',
): number {
  const total = layers.reduce((sum, layer) => sum + layer[by], 0);
  return layers.reduce((sum, layer, i) => sum + layer[by] * shares[i], 0) / total;
}

function probesByPath({layers}: ProbeErrors): Map<string, LayerProbe> {
  return new Map(layers.map((probe) => [probe.path, probe]));
}

function clamp(value: number, minimum: number, maximum: number): number {
  return Math.min(Math.max(value, minimum), maximum);
}
