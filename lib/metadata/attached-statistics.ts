/**
 * @file Keeps calibration statistics with a model: in memory for as long as the model lives, and on request in the
 * user-defined metadata that `model.save` writes.
 */
import type * as tf from '@tensorflow/tfjs';
import {ModelError} from '../errors.js';
import type {Allocation} from './allocation.js';
import {CalibrationStatistics, allocationFrom} from './calibration-statistics.js';

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
  const {layers, thresholds} = statisticsOf(model);
  const isSaved = METADATA_KEY in (model.getUserDefinedMetadata() ?? {});
  attachStatistics(model, new CalibrationStatistics(layers, allocation, thresholds), isSaved);
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
