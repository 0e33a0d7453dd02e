/**
 * @file Choices among measured points of a model: a point is a format of its weights with a mean sparsity. Pure: what was measured goes in,
 * which point answers a target comes out.
 */
import type {AllocationTarget} from '../metadata/allocation.js';
import {lossBound} from './search-mean-sparsity.js';

/**
 * How a model's weights are stored and multiplied. `float32`, `int8` and `int4` (asymmetric, groups of 64 inputs) are made of the float32
 * weights; `bfloat16` is float32 on disk that the decoder of a language model rounds; `kept` is what a file has that holds packed weights, as
 * the 4 bits of a GGUF file.
 */
export type ModelFormat = 'float32' | 'bfloat16' | 'int8' | 'int4' | 'kept';

export const MODEL_FORMATS: readonly ModelFormat[] = ['float32', 'bfloat16', 'int8', 'int4', 'kept'];

/** What was measured of a model in one format with one mean sparsity. */
export interface FormatPoint {
  readonly format: ModelFormat;
  /** Mean, weighted by weights, in [0, 1]; 0 is dense. */
  readonly sparsity: number;
  /** Against the dense float32 model, on data that calibration never saw. */
  readonly loss: number;
  /** Standard error of `loss`; null if unknown. */
  readonly lossError: number | null;
  /** Milliseconds of one prediction, or one token, as if the dense float32 model had taken `FormatComparison.denseMs` beside it. */
  readonly ms: number;
}

export interface FormatChoice {
  readonly point: FormatPoint;
  /** Whether every part of the target is met. */
  readonly met: boolean;
}

/**
 * The point that answers a target. `maxLoss`: the fastest of those that keep it, with the margin for the error of the measurement that the search
 * for a mean sparsity has. `speedup` or `latencyMs`: of those that are as fast, the one that loses least; with `maxLoss` too, if that keeps the
 * loss, else the fastest that does. Never one that is slower than the dense float32 model. Of equal ones the first.
 *
 * @param denseMs Of the dense float32 model.
 * @returns Null if no point keeps the loss without being slower than dense.
 */
export function choosePoint(
  points: readonly FormatPoint[],
  target: AllocationTarget,
  denseMs: number,
): FormatChoice | null {
  const {maxLoss} = target;
  const limit = latencyLimit(target, denseMs);
  const usable = points.filter(({ms}) => ms <= denseMs);
  const keeps = (point: FormatPoint) => maxLoss === undefined || boundOf(point) <= maxLoss;
  if (limit !== null) {
    const best = least(
      usable.filter(({ms}) => ms <= limit),
      boundOf,
      latencyOf,
    );
    if (best !== null && keeps(best)) return {point: best, met: true};
  }
  const fastest = least(usable.filter(keeps), latencyOf, boundOf);
  return fastest === null ? null : {point: fastest, met: limit === null};
}

/**
 * What one format is likely to give for a target: one of its points, or what lies between two of them where the loss, or the latency, is just what
 * is allowed. Latency is taken as linear in the sparsity, and loss as its square.
 *
 * @param points Of one format, by rising sparsity.
 */
export function estimatePoint(
  points: readonly FormatPoint[],
  target: AllocationTarget,
  denseMs: number,
): FormatPoint | null {
  const {maxLoss} = target;
  const limit = latencyLimit(target, denseMs);
  const between = points.slice(1).flatMap((high, i) => {
    const low = points[i];
    return [
      ...(maxLoss === undefined ? [] : [pointAt(low, high, rootOf(maxLoss), rootLoss)]),
      ...(limit === null ? [] : [pointAt(low, high, limit, latencyOf)]),
    ].filter((point) => point !== null);
  });
  return choosePoint([...points, ...between], target, denseMs)?.point ?? null;
}

/** The points that no other beats: none is as fast and loses less, or loses as little and is faster. By rising loss. */
export function frontierOf(points: readonly FormatPoint[]): FormatPoint[] {
  const frontier: FormatPoint[] = [];
  for (const point of [...points].sort((a, b) => a.loss - b.loss || a.ms - b.ms)) {
    const last = frontier.at(-1);
    if (last === undefined || point.ms < last.ms) frontier.push(point);
  }
  return frontier;
}

/** What a point is among those that were measured: the one that was chosen, on the frontier, or neither. */
export function placeOf(
  point: FormatPoint,
  chosen: FormatPoint | null,
  frontier: readonly FormatPoint[],
): 'chosen' | 'frontier' | '' {
  if (chosen !== null && isSame(point, chosen)) return 'chosen';
  return frontier.some((other) => isSame(other, point)) ? 'frontier' : '';
}

function isSame(a: FormatPoint, b: FormatPoint): boolean {
  return a.format === b.format && a.sparsity === b.sparsity;
}

/** Milliseconds that a target allows; null if it says nothing of speed. */
function latencyLimit({speedup, latencyMs}: AllocationTarget, denseMs: number): number | null {
  return latencyMs ?? (speedup === undefined ? null : denseMs / speedup);
}

function boundOf({loss, lossError}: FormatPoint): number {
  return lossBound({loss, error: lossError});
}

function latencyOf({ms}: FormatPoint): number {
  return ms;
}

function rootOf(loss: number): number {
  return Math.sqrt(Math.max(0, loss));
}

function rootLoss(point: FormatPoint): number {
  return rootOf(boundOf(point));
}

/** Where what `of` gives, linear between two points, is `value`; null if that is not between them. */
function pointAt(
  low: FormatPoint,
  high: FormatPoint,
  value: number,
  of: (point: FormatPoint) => number,
): FormatPoint | null {
  const share = (value - of(low)) / (of(high) - of(low));
  if (!(share > 0 && share < 1)) return null;
  const mix = (a: number, b: number) => a + share * (b - a);
  return {
    format: low.format,
    sparsity: mix(low.sparsity, high.sparsity),
    // Not above the loss that is looked for: its root, squared, may be.
    loss: of === rootLoss ? value ** 2 * (1 - 1e-12) : mix(rootLoss(low), rootLoss(high)) ** 2,
    lossError: null,
    ms: of === latencyOf ? value : mix(low.ms, high.ms),
  };
}

/** The least by one measure, of equal ones by another, of those the first. */
function least(
  points: readonly FormatPoint[],
  by: (point: FormatPoint) => number,
  then: (point: FormatPoint) => number,
): FormatPoint | null {
  return [...points].sort((a, b) => by(a) - by(b) || then(a) - then(b))[0] ?? null;
}
