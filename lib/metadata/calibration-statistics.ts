/**
 * @file What calibration learnt about the inputs of each layer, kept apart from targets: another target needs no new
 * data, and statistics of several shares of a data set can be merged. attached-statistics.ts keeps them with a model.
 */
import {isAllocation, type Allocation} from './allocation.js';
import {ModelError} from '../errors.js';
import {AbsHistogram} from '../stats/histogram.js';

/** The form that is saved: histograms, and for each layer's path which one is its own (layers can share one). */
export interface CalibrationStatisticsJson {
  readonly version: 1;
  readonly histograms: readonly ReturnType<AbsHistogram['toJSON']>[];
  readonly layers: Readonly<Record<string, number>>;
  /** What the targets came from, if they were allocated. */
  readonly allocation?: Allocation;
  /** Thresholds that are no quantiles of the histograms, by path. */
  readonly thresholds?: Readonly<Record<string, TargetThreshold>>;
}

/** The threshold that a method found for a target. */
export interface TargetThreshold {
  /** In [0, 1]. */
  readonly target: number;
  readonly threshold: number;
}

/** Histograms of |x| at the input of each layer, by path; and what the targets came from, if they were allocated. */
export class CalibrationStatistics {
  private found: ReadonlyMap<string, TargetThreshold>;

  /** @param thresholds Of method `nncf`, which averages those of batches: no quantiles of the histograms. */
  constructor(
    readonly layers: ReadonlyMap<string, AbsHistogram>,
    readonly allocation: Allocation | null = null,
    thresholds: ReadonlyMap<string, TargetThreshold> = new Map(),
  ) {
    this.found = thresholds;
  }

  /** Thresholds that are no quantiles of the histograms, by path; none once other statistics are merged in. */
  get thresholds(): ReadonlyMap<string, TargetThreshold> {
    return this.found;
  }

  /**
   * The threshold of a layer for a target, in [0, 1]: the one that calibration found if that was its target, else the
   * quantile; -Infinity if no data reached the layer.
   */
  thresholdFor(path: string, target: number): number {
    const found = this.found.get(path);
    if (found?.target === target) return found.threshold;
    const histogram = this.layers.get(path)!;
    return histogram.count === 0 ? -Infinity : histogram.quantile(target);
  }

  /** Adds what another run over other data learnt about the same layers. */
  merge(other: CalibrationStatistics): void {
    const mine = [...this.layers.keys()].sort().join('\n');
    if (mine !== [...other.layers.keys()].sort().join('\n')) {
      throw new ModelError(
        'different-layers',
        'the statistics are of different layers; merge only those of one model, calibrated with the same scopes',
      );
    }
    const merged = new Set<AbsHistogram>();
    for (const [path, histogram] of this.layers) {
      if (!merged.has(histogram)) histogram.merge(other.layers.get(path)!);
      merged.add(histogram);
    }
    this.found = new Map();
  }

  toJSON(): CalibrationStatisticsJson {
    const distinct = [...new Set(this.layers.values())];
    const layers = [...this.layers].map(([path, histogram]) => [path, distinct.indexOf(histogram)] as const);
    return {
      version: 1,
      histograms: distinct.map((histogram) => histogram.toJSON()),
      layers: Object.fromEntries(layers),
      ...(this.allocation === null ? {} : {allocation: this.allocation}),
      ...(this.found.size === 0 ? {} : {thresholds: Object.fromEntries(this.found)}),
    };
  }

  /** @throws {ModelError} `malformed-statistics`; {SparsifyError} `invalid-histogram`. */
  static fromJSON(json: unknown): CalibrationStatistics {
    const allocation = allocationFrom(json);
    const {histograms, layers, thresholds = {}} = json as Partial<CalibrationStatisticsJson>;
    if (!Array.isArray(histograms) || typeof layers !== 'object' || layers === null) {
      throw malformed('histograms or layers are missing');
    }
    const read = histograms.map((histogram: unknown) => AbsHistogram.fromJSON(histogram));
    const byPath = new Map<string, AbsHistogram>();
    for (const [path, index] of Object.entries(layers)) {
      if (!Number.isInteger(index) || read[index] === undefined)
        throw malformed(`no histogram for "${path}"`);
      byPath.set(path, read[index]);
    }
    return new CalibrationStatistics(byPath, allocation, parseThresholds(thresholds, byPath));
  }
}

function parseThresholds(
  thresholds: unknown,
  layers: ReadonlyMap<string, AbsHistogram>,
): Map<string, TargetThreshold> {
  if (typeof thresholds !== 'object' || thresholds === null) throw malformed('thresholds is no object');
  return new Map(
    Object.entries(thresholds).map(([path, value]: [string, unknown]) => {
      const {target, threshold} = (value ?? {}) as Partial<Record<keyof TargetThreshold, unknown>>;
      const isShare = typeof target === 'number' && target >= 0 && target <= 1;
      if (!layers.has(path) || !isShare || typeof threshold !== 'number' || !(threshold >= 0)) {
        throw malformed(`the threshold of "${path}" is none that this release reads`);
      }
      return [path, {target, threshold}];
    }),
  );
}

/**
 * The allocation in saved statistics, whose histograms need not be read for it; null if there is none.
 *
 * @throws {ModelError} `malformed-statistics`.
 */
export function allocationFrom(json: unknown): Allocation | null {
  const {version, allocation} = (json ?? {}) as Partial<CalibrationStatisticsJson>;
  if (version !== 1) throw malformed(`version is ${String(version)}, this release reads version 1`);
  if (allocation === undefined) return null;
  if (!isAllocation(allocation)) throw malformed('the allocation is none that this release reads');
  return allocation;
}

function malformed(what: string): ModelError {
  return new ModelError(
    'malformed-statistics',
    `the model's calibration statistics are malformed: ${what}; calibrate it anew with sparsifyActivations`,
  );
}
