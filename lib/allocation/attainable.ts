/** @file Which shares of its inputs a layer can mask, from a histogram of them. */
import type {AbsHistogram} from '../stats/histogram.js';
import {quantileAbs} from '../stats/quantile.js';
import type {AttainableShares} from '../metadata/allocation.js';

export type Gaps = AttainableShares['gaps'];

/** Shares that no threshold gives. */
export function gapsOf(histogram: AbsHistogram): Gaps {
  return histogram.ties().map(({from, to}) => [from, to] as const);
}

/** The gap that a share lies in; undefined if it can be had. */
export function gapAround(gaps: Gaps | undefined, share: number): Gaps[number] | undefined {
  return gaps?.find(([from, to]) => from < share && share < to);
}

/** The share that is had where another one within a gap is asked for: the gap's lower end, unless nothing is in the way. */
export function attainable(gaps: Gaps | undefined, share: number): number {
  return gapAround(gaps, share)?.[0] ?? share;
}

/** The share that a step to another one gives: over a gap if the bound allows it, else up to the gap. */
export function beyondGap(gaps: Gaps, share: number, maximum: number): number {
  const gap = gapAround(gaps, share);
  return gap === undefined ? share : gap[1] <= maximum ? gap[1] : gap[0];
}

/**
 * The threshold that calibration would set, and the share that it masks.
 *
 * @param values At least one.
 * @param share Asked for, in [0, 1].
 * @param histogram Of these values.
 */
export function thresholdFor(
  values: Float32Array,
  share: number,
  histogram: AbsHistogram,
): {threshold: number; reached: number} {
  const isFree = histogram.ties().every(({from, to}) => share < from || share > to);
  const threshold = isFree ? quantileAbs(values, share) : histogram.quantile(share);
  return {threshold, reached: isFree ? share : histogram.shareAtOrBelow(threshold)};
}
