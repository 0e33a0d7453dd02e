/**
 * @file What calibration learnt about the inputs of each layer, kept apart from targets: another target needs no new
 * data, and statistics of several shares of a data set can be merged. They travel with a model on request.
 */
import type * as tf from '@tensorflow/tfjs';
import {isAllocation, type Allocation} from '../allocation/contract.js';
import {ModelError} from '../errors.js';
import {AbsHistogram} from '../stats/histogram.js';

/** The form that is saved: histograms, and for each layer's path which one is its own (layers can share one). */
export interface CalibrationStatisticsJson {
  readonly version: 1;
  readonly histograms: readonly ReturnType<AbsHistogram['toJSON']>[];
  readonly layers: Readonly<Record<string, number>>;
  /** What the targets came from, if they were allocated. */
  readonly allocation?: Allocation;
}

/** Histograms of |x| at the input of each layer, by path; and what the targets came from, if they were allocated. */
export class CalibrationStatistics {
  constructor(
    readonly layers: ReadonlyMap<string, AbsHistogram>,
    readonly allocation: Allocation | null = null,
  ) {}

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
  }

  toJSON(): CalibrationStatisticsJson {
    const distinct = [...new Set(this.layers.values())];
    const layers = [...this.layers].map(([path, histogram]) => [path, distinct.indexOf(histogram)] as const);
    return {
      version: 1,
      histograms: distinct.map((histogram) => histogram.toJSON()),
      layers: Object.fromEntries(layers),
      ...(this.allocation === null ? {} : {allocation: this.allocation}),
    };
  }

  /** @throws {ModelError} `malformed-statistics`; {SparsifyError} `invalid-histogram`. */
  static fromJSON(json: unknown): CalibrationStatistics {
    const allocation = allocationFrom(json);
    const {histograms, layers} = json as Partial<CalibrationStatisticsJson>;
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
    return new CalibrationStatistics(byPath, allocation);
  }
}

/** The allocation in saved statistics, whose histograms need not be read for it; null if there is none. */
function allocationFrom(json: unknown): Allocation | null {
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

/** The key in a model's user-defined metadata, which `model.save` writes and loading restores. */
const METADATA_KEY = 'tfjs-sparsify';

const attached = new WeakMap<tf.LayersModel, CalibrationStatistics>();

/** Keeps statistics with a model in memory and, if `save`, in the metadata that `model.save` writes. */
export function attachStatistics(
  model: tf.LayersModel,
  statistics: CalibrationStatistics,
  save: boolean,
): void {
  attached.set(model, statistics);
  const {[METADATA_KEY]: _, ...metadata} = (model.getUserDefinedMetadata() ?? {}) as Record<string, unknown>;
  const ours = save ? {[METADATA_KEY]: {statistics: statistics.toJSON()}} : {};
  model.setUserDefinedMetadata({...metadata, ...ours});
}

/**
 * Keeps with a calibrated model what its targets came from, in its saved statistics too if it has some.
 *
 * @throws {ModelError} as `statisticsOf`.
 */
export function attachAllocation(model: tf.LayersModel, allocation: Allocation): void {
  const {layers} = statisticsOf(model);
  const isSaved = METADATA_KEY in (model.getUserDefinedMetadata() ?? {});
  attachStatistics(model, new CalibrationStatistics(layers, allocation), isSaved);
}

/**
 * What a model's targets came from; null if they were not allocated, or the model holds no statistics.
 *
 * @throws {ModelError} `malformed-statistics`.
 */
export function allocationOf(model: tf.LayersModel): Allocation | null {
  const inMemory = attached.get(model);
  if (inMemory !== undefined) return inMemory.allocation;
  const saved = savedJson(model.getUserDefinedMetadata());
  return saved === undefined ? null : allocationFrom(saved);
}

/** Gives a copy of a model the statistics that its original holds in memory. */
export function copyStatistics(model: tf.LayersModel, copy: tf.LayersModel): void {
  const statistics = attached.get(model);
  if (statistics !== undefined) attached.set(copy, statistics);
}

/**
 * The statistics of a model that was calibrated in this process, or was loaded with them.
 *
 * @throws {ModelError} `no-statistics` or `malformed-statistics`.
 */
export function statisticsOf(model: tf.LayersModel): CalibrationStatistics {
  const inMemory = attached.get(model);
  if (inMemory !== undefined) return inMemory;
  const statistics = savedStatistics(model.getUserDefinedMetadata());
  if (statistics === null) {
    throw new ModelError(
      'no-statistics',
      'the model holds no calibration statistics; calibrate with sparsifyActivations(…, {saveStatistics: true}) ' +
        'before you save it',
    );
  }
  attached.set(model, statistics);
  return statistics;
}

/**
 * The statistics in a model's user-defined metadata, as a `model.json` holds them; null if there are none.
 *
 * @throws {ModelError} `malformed-statistics`; {SparsifyError} `invalid-histogram`.
 */
export function savedStatistics(metadata: object | undefined): CalibrationStatistics | null {
  const saved = savedJson(metadata);
  return saved === undefined ? null : CalibrationStatistics.fromJSON(saved);
}

function savedJson(metadata: object | undefined): unknown {
  const ours = (metadata ?? {}) as Record<string, {statistics?: unknown} | undefined>;
  return ours[METADATA_KEY]?.statistics;
}
