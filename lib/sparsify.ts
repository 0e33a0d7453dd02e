/**
 * @file The pipeline: select the Dense layers, make them sparsifying, calibrate their thresholds on data. And the
 * short way to other targets once that is done.
 */
import type * as tf from '@tensorflow/tfjs';
import {isAllocation, type Allocation} from './metadata/allocation.js';
import {targetsIn} from './allocation/allocation-targets.js';
import {calibrate, type CalibrationMethod, type CalibrationOptions} from './calibration/calibrate.js';
import {CALIBRATION} from './calibration/calibration-option-rules.js';
import {setReached, warnOfTargets} from './calibration/reached-sparsity.js';
import type {Progress} from './calibration/model-batches.js';
import {attachAllocation, attachStatistics, statisticsOf} from './metadata/attached-statistics.js';
import {CalibrationStatistics} from './metadata/calibration-statistics.js';
import {toBatches, type Batches, type DataSource} from './dataset.js';
import {ModelError} from './errors.js';
import {cloneModel} from './model/clone.js';
import {
  SPARSIFIABLE_TYPES,
  checkModel,
  graphOf,
  makeSparsifying,
  sparsifyingDenseLayers,
} from './model/dense-layers.js';
import {reportWalked, type DenseReport} from './model/inspect.js';
import {putThresholds, takeThresholds} from './model/thresholds.js';
import {walkModel} from './model/walk.js';
import {CALLBACK, FLAG, SIGNAL, checkOptions, required, type OptionRules} from './option-rules.js';
import {selectTargets} from './scope/select-targets.js';
import {IGNORED_SCOPE, type IgnoredScope, type TargetScope} from './scope/target-scope.js';
import type {TargetSparsityByScope} from './scope/parse-targets.js';
import {asContainer} from './tfjs.js';
import type {WarningOptions} from './warnings.js';

/** Which layers to sparsify and how much. */
export interface SparsifyScopes {
  /**
   * The share of its inputs that each selected layer is to mask, in [0, 1]: pairs of scope and target, a Map, or an
   * object from pattern to target. Or what `allocateSparsity` gave, which is then kept with the statistics.
   */
  readonly targetSparsityByScope: TargetSparsityByScope | Allocation;
  /** Layers that stay as they are; wins over every target. */
  readonly ignoredScope?: IgnoredScope | TargetScope | null;
}

export interface SparsifyOptions extends SparsifyScopes {
  /** How thresholds are found; `pooled` by default. */
  readonly calibration?: CalibrationMethod | CalibrationOptions;
  /** Change the given model instead of a copy that shares its weights' memory. False by default. */
  readonly inPlace?: boolean;
  /** Write the statistics into the model's metadata, so that `retarget` works on a saved model. False by default. */
  readonly saveStatistics?: boolean;
  /** Called after every batch. */
  readonly onProgress?: (progress: Progress) => void;
  /** Stops between two batches; the given model is then as it was. */
  readonly signal?: AbortSignal;
  /**
   * Told of targets that thresholds cannot meet, since many inputs have one magnitude, and of layers that no data reached;
   * by default it goes to `console.warn`. `inspect` tells what every layer reaches.
   */
  readonly onWarning?: WarningOptions['onWarning'];
}

const SCOPE_RULES: OptionRules<SparsifyScopes> = {
  targetSparsityByScope: required("{targetSparsityByScope: {'.*': 0.5}}"),
  ignoredScope: IGNORED_SCOPE,
};

/** Of `sparsifyActivations`; what builds on it takes these options too. */
export const SPARSIFY_RULES: OptionRules<SparsifyOptions> = {
  ...SCOPE_RULES,
  calibration: CALIBRATION,
  inPlace: FLAG,
  saveStatistics: FLAG,
  onProgress: CALLBACK,
  signal: SIGNAL,
  onWarning: CALLBACK,
};

/**
 * Sparsifies the inputs of a model's Dense layers: each selected layer masks the share of its inputs that are
 * smallest in magnitude, by a threshold that is found on `dataset` once and then fixed.
 *
 * Layers of the model that are sparsified already keep their target and are calibrated anew with the others, since
 * what they see changes.
 *
 * @param model Built. Left as it was, and usable, unless `inPlace`.
 * @param dataset Batches as the model's inputs take them: tensors, nested arrays, arrays or objects of tensors for
 *   several inputs, `{xs, ys}` of tf.data. Read once. A few hundred samples of real data are enough.
 * @returns A model that predicts, trains, saves and serves like the given one; the caller disposes it. Loading it
 *   needs `registerLayers()` first.
 * @throws {ScopeError} if the scopes do not fit the model; {ModelError} if the model cannot be sparsified;
 *   {DatasetError} for an empty data set or a bad item (`nan`, `wrong-shape`, …); the signal's reason if aborted.
 *   Nothing is changed then.
 * @example
 * const sparse = await sparsifyActivations(model, new Dataset(batches), {
 *   targetSparsityByScope: [[new TargetScope({patterns: ['.*up_proj.*']}), 0.5]],
 * });
 */
export async function sparsifyActivations(
  model: tf.LayersModel,
  dataset: Batches | DataSource<unknown>,
  options: SparsifyOptions,
): Promise<tf.LayersModel> {
  checkOptions('sparsifyActivations', options, SPARSIFY_RULES);
  const {calibration = 'pooled', inPlace = false, saveStatistics = false, onProgress, signal} = options;
  const given = checkModel(model);
  const targets = selectTargets(
    graphOf(given),
    targetsIn(options.targetSparsityByScope),
    options.ignoredScope,
    SPARSIFIABLE_TYPES,
  );
  const batches = toBatches(dataset);
  const calibrationOptions = typeof calibration === 'string' ? {method: calibration} : calibration;

  const sparse = inPlace ? model : cloneModel(model);
  const walked = inPlace ? given : walkModel(asContainer(sparse));
  const before = takeThresholds(walked);
  const undo = makeSparsifying(walked, new Set(targets.keys()));
  try {
    const layers = sparsifyingDenseLayers(walked);
    for (const [path, target] of targets) layers.get(path)!.targetSparsity = target;
    const calibrated = new Map([...layers].filter(([, {targetSparsity}]) => targetSparsity !== null));
    const {layers: histograms, thresholds} = await calibrate(sparse, calibrated, batches, {
      ...calibrationOptions,
      onProgress,
      signal,
    });
    const {targetSparsityByScope: asked} = options;
    const statistics = new CalibrationStatistics(histograms, isAllocation(asked) ? asked : null, thresholds);
    attachStatistics(sparse, statistics, saveStatistics);
    warnOfTargets(reportWalked(sparse, walked), statistics, options);
    return sparse;
  } catch (error) {
    undo();
    if (inPlace) putThresholds(walked, before);
    else sparse.dispose();
    throw error;
  }
}

/**
 * Gives a calibrated model other targets, in place and without data, from the statistics of its calibration. Layers
 * that no scope selects keep theirs; a layer that is given the target it was calibrated for gets the same threshold again.
 * The statistics were recorded under the earlier targets: after a large change calibrate anew to be exact.
 *
 * @param model A result of `sparsifyActivations`, or one saved with `saveStatistics` and loaded.
 * @param scopes As for `sparsifyActivations`: the scopes and targets alone, an allocation, or with an `ignoredScope`.
 * @param options `onWarning` as for `sparsifyActivations`.
 * @returns The report of `inspect` afterwards.
 * @throws {ModelError} `no-statistics`, or `not-calibrated` if a selected layer has none; {ScopeError}.
 * @example
 * retarget(sparse, {'.*': 0.7});
 */
export function retarget(
  model: tf.LayersModel,
  scopes: SparsifyScopes | TargetSparsityByScope | Allocation,
  options: WarningOptions = {},
): DenseReport[] {
  const asked = isScopes(scopes) ? scopes : {targetSparsityByScope: scopes};
  checkOptions<SparsifyScopes>('retarget', asked, SCOPE_RULES);
  checkOptions<WarningOptions>('retarget', options, {onWarning: CALLBACK});
  const walked = checkModel(model);
  const {targetSparsityByScope: given, ignoredScope} = asked;
  const targets = selectTargets(graphOf(walked), targetsIn(given), ignoredScope, SPARSIFIABLE_TYPES);
  const statistics = statisticsOf(model);
  const layers = sparsifyingDenseLayers(walked);
  const missing = [...targets.keys()].filter((path) => !layers.has(path) || !statistics.layers.has(path));
  if (missing.length > 0) {
    throw new ModelError(
      'not-calibrated',
      `the model has no statistics for ${missing.map((path) => `"${path}"`).join(', ')}; sparsify these layers with ` +
        `sparsifyActivations, or name only calibrated ones: ${[...layers.keys()].join(', ')}`,
      {missing, calibrated: [...layers.keys()]},
    );
  }
  for (const [path, target] of targets) {
    const layer = layers.get(path)!;
    layer.targetSparsity = target;
    setReached(layer, statistics.layers.get(path)!, statistics.thresholdFor(path, target));
  }
  if (isAllocation(given)) attachAllocation(model, given);
  const report = reportWalked(model, walked);
  warnOfTargets(
    report.filter(({path}) => targets.has(path)),
    statistics,
    options,
  );
  return report;
}

/** Whether options were given rather than targets: those are numbers, or an allocation. */
function isScopes(scopes: SparsifyScopes | TargetSparsityByScope | Allocation): scopes is SparsifyScopes {
  if (typeof scopes !== 'object' || scopes === null || Symbol.iterator in scopes || isAllocation(scopes))
    return false;
  return Object.values(scopes).some((value) => typeof value === 'object');
}
