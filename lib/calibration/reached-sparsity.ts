/**
 * @file What thresholds reach of their targets, and why some do not: where many inputs of a layer have one magnitude, a
 * threshold masks all of them or none, and what lies between is not to be had.
 */
import type {SparsifyingDense} from '../layers/sparsifying-dense.js';
import type {AbsHistogram, Tie} from '../stats/histogram.js';
import {percent} from '../percent.js';
import {warnOnConsole, type WarningOptions} from '../warnings.js';
import type {CalibrationStatistics} from '../metadata/calibration-statistics.js';

/** A layer as `inspect` reports it. */
export interface TargetedLayer {
  readonly path: string;
  /** Shares of its inputs, in [0, 1]: asked for, and masked of the calibration data; null if unknown. */
  readonly target: number | null;
  readonly reached: number | null;
}

/** A layer that masks another share than it was asked to. */
export interface MissedTarget {
  readonly path: string;
  readonly target: number;
  readonly reached: number;
  /** What stands in the way: inputs of one magnitude, and their share; null if it is something else. */
  readonly tie: {readonly magnitude: number; readonly share: number} | null;
}

/** A target is missed by more than this, and by more than one value. */
const TOLERANCE = 0.05;
/** So many layers are named; `inspect` lists all. */
const MOST_NAMED = 5;

/** Sets a layer's threshold to the one for its target; -Infinity if no data reached the layer. */
export function setQuantile(layer: SparsifyingDense, histogram: AbsHistogram): void {
  setReached(layer, histogram, histogram.count === 0 ? -Infinity : histogram.quantile(layer.targetSparsity!));
}

/** Sets a layer's threshold, and what it reaches of the data that the histogram counts; that is not known without any. */
export function setReached(layer: SparsifyingDense, histogram: AbsHistogram, threshold: number): void {
  layer.setThreshold(threshold, histogram.count === 0 ? null : histogram.shareAtOrBelow(threshold));
}

/**
 * The layers whose threshold masks another share of the calibration data than their target. Zeros are masked for free: to
 * mask more than was asked is no miss where all of it is zeros.
 *
 * @param statistics Tell the reason; without them none is known.
 */
export function missedTargets(
  layers: Iterable<TargetedLayer>,
  statistics: CalibrationStatistics | null,
): MissedTarget[] {
  return [...layers].flatMap(({path, target, reached}) => {
    if (target === null || reached === null) return [];
    const histogram = statistics?.layers.get(path) ?? null;
    const oneValue = histogram === null ? 0 : 1 / histogram.count;
    const distance = Math.abs(reached - target);
    if (distance <= TOLERANCE + oneValue) return [];
    if (histogram !== null && reached > target && reached <= histogram.zeroShare) return [];
    const spans = ({from, to}: Tie) => from <= target && target <= to && to - from >= distance;
    const tie = histogram?.ties().find(spans) ?? null;
    const known = tie === null ? null : {magnitude: tie.magnitude, share: tie.to - tie.from};
    return [{path, target, reached, tie: known}];
  });
}

/** A line on each of the layers, as far as they are to be named. */
export function describeMissed(missed: readonly MissedTarget[]): string[] {
  const lines = missed.slice(0, MOST_NAMED).map(({path, target, reached, tie}) => {
    const reason =
      tie === null
        ? 'the threshold is an average over batches (method nncf), which for all of its inputs together is another share'
        : `${percent(tie.share)} of its inputs have the magnitude ${Number(tie.magnitude.toPrecision(5))}: a threshold masks all of ` +
          'them or none';
    return `"${path}": ${percent(reached)} is reached where ${percent(target)} was asked; ${reason}`;
  });
  const more = missed.length - lines.length;
  return more > 0 ? [...lines, `and ${more} others: inspect lists what each layer reaches`] : lines;
}

/** Warns of missed targets, and of layers that have no data. */
export function warnOfTargets(
  layers: Iterable<TargetedLayer>,
  statistics: CalibrationStatistics,
  {onWarning = warnOnConsole}: WarningOptions,
): void {
  const targeted = [...layers].filter(({target}) => target !== null);
  const missed = missedTargets(targeted, statistics);
  if (missed.length > 0) {
    onWarning({
      code: 'target-missed',
      message:
        `${missed.length} of ${targeted.length} layers do not mask the share that was asked:\n  ` +
        `${describeMissed(missed).join('\n  ')}\ngive these layers a target that can be had, or leave them out by an ` +
        'ignored scope' +
        (missed.some(({target, reached}) => reached > target)
          ? '; the calibration methods "pooled" and "sequential" rather mask less than asked than more'
          : ''),
      data: {missed},
    });
  }
  const without = targeted.flatMap(({path}) => (statistics.layers.get(path)?.count === 0 ? [path] : []));
  if (without.length > 0) {
    const named = without.slice(0, MOST_NAMED).map((path) => `"${path}"`);
    onWarning({
      code: 'no-inputs',
      message:
        `no data reached ${named.join(', ')}${without.length > named.length ? ` and ${without.length - named.length} others` : ''}, ` +
        'so that nothing is masked there: calibrate on more data',
      data: {paths: without},
    });
  }
}
