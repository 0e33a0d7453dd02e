/** @file The layers of a report from what is known of a model: its layers, its statistics, what was measured. */
import {describeMissed, missedTargets} from '../calibration/reached-sparsity.js';
import type {CalibrationStatistics} from '../metadata/calibration-statistics.js';
import type {LayerSparsity} from '../eval/measure-sparsity.js';
import type {LayerOutputError} from '../eval/output-error.js';
import type {DenseReport} from '../model/inspect.js';
import type {MeasuredLayers, ReportLayer} from './report-contents.js';
import {histogramBins} from './histogram-bins.js';

/** Figures of layers, and the data that they were measured on. */
export interface MeasuredOn<T> {
  readonly layers: readonly T[];
  readonly on: string;
}

export interface KnownOfLayers {
  /** As of `inspect`. */
  readonly layers: readonly DenseReport[];
  /** Of calibration, if it was kept. */
  readonly statistics: CalibrationStatistics | null;
  /** Measured; without it the share that the threshold masks of the statistics stands for it. */
  readonly sparsity?: MeasuredOn<LayerSparsity> | null;
  readonly errors?: MeasuredOn<LayerOutputError> | null;
}

/** Puts together what belongs to each layer. */
export function measuredLayers({layers, statistics, sparsity, errors}: KnownOfLayers): MeasuredLayers {
  const actuals = new Map(sparsity?.layers.map(({path, actual}) => [path, actual]));
  const outputErrors = new Map(errors?.layers.map(({path, error}) => [path, error]));
  const hasMeasured = sparsity !== undefined && sparsity !== null;
  const reported = layers.map((layer): ReportLayer => {
    const {path, inputSize, units, format, bytes, sparsified, target} = layer;
    const histogram = statistics?.layers.get(path) ?? null;
    const threshold = Number.isFinite(layer.threshold) ? layer.threshold : null;
    const counted = histogram !== null && histogram.count > 0 ? histogram : null;
    const calibrated = sparsified && counted !== null ? counted.shareAtOrBelow(threshold ?? -Infinity) : null;
    return {
      ...{path, inputSize, units, format, bytes, sparsified, target, threshold},
      actual: hasMeasured ? (actuals.get(path) ?? null) : calibrated,
      outputError: outputErrors.get(path) ?? null,
      histogram: counted === null ? null : histogramBins(counted, threshold),
    };
  });
  const isKnown = reported.some(({actual}) => actual !== null);
  return {
    layers: reported,
    actualOn: hasMeasured ? sparsity.on : isKnown ? 'on the calibration data' : null,
    errorsOn: errors?.on ?? null,
    missed: describeMissed(missedTargets(layers, statistics)),
  };
}

/** All weights of a model, from the share that each layer's kernel has of them. */
export function parametersOf(layers: readonly DenseReport[]): number {
  const [{inputSize, units, weightShare}] = layers;
  return Math.round((inputSize * units) / weightShare);
}
