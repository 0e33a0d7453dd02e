/**
 * @file Which layer masks how much, so that a mean sparsity costs least; and which mean sparsity, where a loss or a speed is
 * asked for instead.
 */
import type * as tf from '@tensorflow/tfjs';
import {selectBounds, type AllocationScopes, type SparsityBounds} from './allocation/bounds.js';
import type {
  Allocation,
  AllocationMethod,
  AllocationTarget,
  AllocationWeighting,
  ProbeErrors,
} from './metadata/allocation.js';
import {greedyShares} from './allocation/greedy.js';
import type {LossMeasure, SpeedMeasure} from './allocation/measures.js';
import {checkMethod, checkReachable, checkWeighting, parseTarget} from './allocation/allocation-options.js';
import {gapAround} from './allocation/attainable.js';
import {AllocationPlan} from './allocation/allocation-plan.js';
import {probeLayers} from './allocation/probe.js';
import {searchSparsity} from './allocation/search-mean-sparsity.js';
import {
  lawShares,
  uniformShares,
  type WeightedLayer,
  type ShareFunction,
} from './allocation/share-functions.js';
import {CALIBRATION} from './calibration/calibration-option-rules.js';
import type {CalibrationMethod, CalibrationOptions} from './calibration/calibrate.js';
import type {Progress} from './calibration/model-batches.js';
import type {RunOptions} from './calibration/recording-pass.js';
import {allocationOf} from './metadata/attached-statistics.js';
import {toBatches, type Batches, type DataSource} from './dataset.js';
import {DatasetError, ModelError} from './errors.js';
import {allOf, checkNotEmpty, holdOut, type HeldOut} from './eval/held-out.js';
import {accuracyLoss, divergenceLoss} from './eval/loss.js';
import {predictionSpeed} from './eval/prediction-speed.js';
import {timePerSparsity} from './eval/time-per-sparsity.js';
import type {Labels} from './io/data/labels.js';
import {SPARSIFIABLE_TYPES, checkModel, denseLayers, graphOf} from './model/dense-layers.js';
import type {ModelLayers} from './model/walk.js';
import {
  CALLBACK,
  CHECKED_LATER,
  SIGNAL,
  checkOptions,
  count,
  optional,
  required,
  type OptionRules,
} from './option-rules.js';
import {percent} from './percent.js';
import {IGNORED_SCOPE, TargetScope, type IgnoredScope} from './scope/target-scope.js';
import {sparsifyActivations} from './sparsify.js';
import {warnOnConsole, type WarningOptions} from './warnings.js';

/** What is being done, and how far it is. */
export interface AllocationProgress extends Progress {
  readonly stage:
    'probing layers' | 'timing layers' | 'calibrating' | 'measuring the loss' | 'measuring the speed';
  /** Mean sparsity of the candidate that is being made or measured; null before there is one. */
  readonly sparsity: number | null;
}

/** How an allocation is measured, where its target is no mean sparsity. */
export interface AllocationMeasures {
  /** Data for the loss, that calibration does not see; by default every fourth batch of the data set is held out for it. */
  readonly heldOut?: Batches | DataSource<unknown>;
  /** Right classes of `heldOut`, or of the whole data set without it: the loss then counts accuracy. */
  readonly labels?: Labels;
  /** How the loss is measured; by default accuracy with labels, else how far the outputs are from the dense ones. */
  readonly loss?: LossMeasure;
  /** How the speed is measured; by default predictions of one item. */
  readonly speed?: SpeedMeasure;
}

export interface AllocateOptions extends AllocationMeasures {
  /** What to reach: a mean sparsity, `{maxLoss}`, `{speedup}` or `{latencyMs}`, or a loss and a speed at once. */
  readonly target: number | AllocationTarget;
  /** `local` by default. */
  readonly method?: AllocationMethod;
  /**
   * The layers that share the sparsity, with bounds. By default all Dense layers; without data those of the allocation that
   * the model was sparsified with.
   */
  readonly scopes?: AllocationScopes;
  /** Layers that stay as they are; wins over every scope. */
  readonly ignoredScope?: IgnoredScope | TargetScope | null;
  /** What the mean sparsity is weighted by: `weights` by default; `time` measures what each layer gains here. */
  readonly weighting?: AllocationWeighting;
  /** How thresholds are found for what is measured, and which tokens count; calibrate alike afterwards. `pooled` by default. */
  readonly calibration?: CalibrationMethod | CalibrationOptions;
  /** Data to probe on; the data set by default. */
  readonly probeData?: Batches | DataSource<unknown>;
  /** Rows that probes compare, at least: tokens of a language model, items of another. 128 by default. */
  readonly probeRows?: number;
  /** Probes of the same layers, as an earlier allocation has them: method `local` then probes no more. */
  readonly probes?: ProbeErrors;
  readonly onProgress?: (progress: AllocationProgress) => void;
  /** Told of a mean sparsity that layers cannot have; by default it goes to `console.warn`. */
  readonly onWarning?: WarningOptions['onWarning'];
  /** Stops between two steps: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

const MEASURE = optional(
  'a measure: an object with a function measure(model)',
  (value) => typeof (value as Partial<SpeedMeasure> | null)?.measure === 'function',
);

const MEASURE_RULES: OptionRules<AllocationMeasures> = {
  heldOut: CHECKED_LATER,
  labels: optional(
    "labels, as readLabels gives them: {kind: 'classes', values: Int32Array, shape}",
    isLabels,
  ),
  loss: MEASURE,
  speed: MEASURE,
};

/** Of `allocateSparsity`; what builds on it takes these options too. */
export const ALLOCATE_RULES: OptionRules<AllocateOptions> = {
  ...MEASURE_RULES,
  target: required('{target: 0.5} or {target: {maxLoss: 0.02}}'),
  method: CHECKED_LATER,
  scopes: CHECKED_LATER,
  ignoredScope: IGNORED_SCOPE,
  weighting: CHECKED_LATER,
  calibration: CALIBRATION,
  probeData: CHECKED_LATER,
  probeRows: count(),
  probes: optional('the probes of an allocation', (value) =>
    Array.isArray((value as Partial<ProbeErrors> | null)?.layers),
  ),
  onProgress: CALLBACK,
  onWarning: CALLBACK,
  signal: SIGNAL,
};

/**
 * Decides how much each layer of a model is to mask.
 *
 * `local` measures how much masking each layer alone changes what comes out where its branch joins again, and spends a mean
 * sparsity where the errors that follow from that are least. It costs a few passes over a hundred rows. For a target other
 * than a mean sparsity, models with several are made and measured: the fastest within `maxLoss`, the one that loses least
 * with `speedup` or `latencyMs`; with both the latter, if it keeps the loss, else the former, and `met` is false.
 *
 * @param model Left as it is. Layers that are sparsified count as dense if they take part.
 * @param dataset As for `sparsifyActivations`, but walked several times. Null to allocate anew, without data, for a model
 *   that was sparsified with an allocation: by its probes, for a mean sparsity.
 * @returns What goes into `sparsifyActivations` and `retarget` as `targetSparsityByScope`.
 * @throws {SparsifyError} `unknown-option`, `missing-option`, `bad-option`, `bad-target`, `unknown-method`; {ScopeError} if the scopes do not fit the model, or
 *   `target-out-of-range` for a mean that their bounds do not allow; {ModelError} `not-probed` without data and probes;
 *   {DatasetError} as `sparsifyActivations`, `no-data`, or `too-few-batches` where none can be held out; the signal's reason.
 * @example
 * const allocation = await allocateSparsity(model, data, {target: {maxLoss: 0.01}});
 * const sparse = await sparsifyActivations(model, data, {targetSparsityByScope: allocation});
 */
export async function allocateSparsity(
  model: tf.LayersModel,
  dataset: Batches | DataSource<unknown> | null,
  options: AllocateOptions,
): Promise<Allocation> {
  checkOptions('allocateSparsity', options, ALLOCATE_RULES);
  const {method = 'local', weighting = 'weights'} = options;
  const target = parseTarget(options.target);
  checkMethod(method);
  checkWeighting(weighting);
  const walked = checkModel(model);
  const batches = dataset === null ? null : toBatches(dataset);
  const measured =
    target.sparsity === undefined
      ? await measuredData(model, dataOf(batches, 'a loss or a speed'), target, options)
      : null;
  const layers = await weightedLayers(model, walked, batches, options);
  const seen = measured?.calibration ?? batches;
  const {probes, sharesAt} = await methodOf(method, model, layers, seen, options);
  const plan = new AllocationPlan(layers, sharesAt, {method, weighting, target, probes});
  if (measured !== null) return search(model, measured, plan, target, options);
  checkReachable(target.sparsity!, plan.range);
  const allocation = plan.at(target.sparsity!);
  if (!allocation.met) warnOfMean(allocation, target.sparsity!, options);
  return allocation;
}

/** Warns of a mean that is not reached, and which layers cannot have their share of it. */
function warnOfMean(
  {layers, probes, sparsity: mean}: Allocation,
  sparsity: number,
  {onWarning = warnOnConsole}: AllocateOptions,
): void {
  const gaps = new Map(probes?.layers.map(({path, inputs}) => [path, inputs?.gaps ?? []]));
  const limited = layers.flatMap(({path, target}) => {
    const gap = gapAround(gaps.get(path), sparsity);
    return gap === undefined || target >= sparsity ? [] : [{path, most: gap[0], tied: gap[1] - gap[0]}];
  });
  const named = limited
    .slice(0, 3)
    .map(
      ({path, most, tied}) => `"${path}" can mask ${percent(most)} (${percent(tied)} of its inputs are tied)`,
    );
  const more = limited.length > named.length ? ` and ${limited.length - named.length} others` : '';
  const reason =
    limited.length === 0
      ? 'the method comes no nearer within the bounds of the layers'
      : `a threshold masks all inputs of one magnitude or none: ${named.join(', ')}${more}; to have other layers make up ` +
        'for it would lose more than to mask all alike';
  onWarning({
    code: 'sparsity-missed',
    message: `a mean sparsity of ${percent(sparsity)} was asked and ${percent(mean)} is allocated: ${reason}`,
    data: {sparsity, reached: mean, layers: limited},
  });
}

/** The layers that the scopes select, with their bounds and sizes. */
async function weightedLayers(
  model: tf.LayersModel,
  walked: ModelLayers,
  batches: Batches | null,
  options: AllocateOptions,
): Promise<WeightedLayer[]> {
  const {ignoredScope, weighting, signal} = options;
  const scopes = options.scopes ?? (batches === null ? savedScopes(model) : undefined);
  const bounds = selectBounds(graphOf(walked), scopes, ignoredScope, SPARSIFIABLE_TYPES);
  const times =
    weighting === 'time'
      ? await timePerSparsity(model, dataOf(batches, 'weighting by time'), {
          onProgress: progressOf(options, 'timing layers'),
          signal,
        })
      : null;
  return denseLayers(walked).flatMap(({path, layer}) => {
    const own = bounds.get(path);
    if (own === undefined) return [];
    const [inputs, units] = layer.kernel!.shape as [number, number];
    return [{path, weights: inputs * units, size: times?.get(path) ?? inputs * units, ...own}];
  });
}

/** How a method spreads a mean over the layers, and the probes that it stands on. */
async function methodOf(
  method: AllocationMethod,
  model: tf.LayersModel,
  layers: readonly WeightedLayer[],
  batches: Batches | null,
  options: AllocateOptions,
): Promise<{probes: ProbeErrors | null; sharesAt: ShareFunction}> {
  const {calibration, probeData, probeRows: rows, signal} = options;
  const probed = probeData === undefined ? batches : toBatches(probeData);
  const {tokenMask, skipLeadingTokens} = typeof calibration === 'object' ? calibration : {};
  const running: RunOptions = {
    tokenMask,
    skipLeadingTokens,
    signal,
    onProgress: progressOf(options, 'probing layers'),
  };
  switch (method) {
    case 'uniform':
      return {probes: null, sharesAt: uniformShares(layers)};
    case 'greedy': {
      const data = dataOf(probed, 'method "greedy"');
      return {probes: null, sharesAt: await greedyShares(model, layers, data, running)};
    }
    case 'local': {
      const paths = new Set(layers.map(({path}) => path));
      if (options.probes !== undefined) checkProbed(options.probes, paths);
      const probes =
        options.probes ??
        (probed === null
          ? savedProbes(model, paths)
          : await probeLayers(model, paths, probed, {...running, rows}));
      return {probes, sharesAt: lawShares(layers, probes)};
    }
  }
}

/** Makes and measures models until the target is met as well as can be. */
async function search(
  model: tf.LayersModel,
  {calibration, loss}: MeasuredData,
  plan: AllocationPlan,
  target: AllocationTarget,
  options: AllocateOptions,
): Promise<Allocation> {
  const {signal} = options;
  const speed = options.speed ?? predictionSpeed(model, calibration);
  const candidates = new Candidates(model, calibration, plan, options);
  try {
    const found = await searchSparsity(target, plan.range, {
      loss: async (sparsity, isClear) => {
        const onProgress = progressOf(options, 'measuring the loss', sparsity);
        return loss!.measure(await candidates.at(sparsity), {onProgress, signal, isClear});
      },
      speed: async (sparsity) => {
        const onProgress = progressOf(options, 'measuring the speed', sparsity);
        return speed.measure(await candidates.at(sparsity), {onProgress, signal});
      },
    });
    return plan.chosen(found, loss?.metric ?? null);
  } finally {
    candidates.dispose();
  }
}

/** Sparsified models; the last one is kept. */
class Candidates {
  private last: {readonly sparsity: number; readonly model: tf.LayersModel} | null = null;

  constructor(
    private readonly model: tf.LayersModel,
    private readonly batches: Batches,
    private readonly plan: AllocationPlan,
    private readonly options: AllocateOptions,
  ) {}

  /** Owned by this, until the next is asked for. */
  async at(sparsity: number): Promise<tf.LayersModel> {
    if (this.last?.sparsity === sparsity) return this.last.model;
    this.dispose();
    const {calibration, signal} = this.options;
    const model = await sparsifyActivations(this.model, this.batches, {
      targetSparsityByScope: this.plan.at(sparsity),
      calibration,
      onProgress: progressOf(this.options, 'calibrating', sparsity),
      onWarning: () => undefined, // of a model that is only measured
      signal,
    });
    this.last = {sparsity, model};
    return model;
  }

  dispose(): void {
    this.last?.model.dispose();
    this.last = null;
  }
}

/** A data set, parted so that a loss is measured on nothing that the candidates were made with. */
export interface MeasuredData {
  /** What is probed and calibrated on. */
  readonly calibration: Batches;
  /** Null if the target has no loss. */
  readonly loss: LossMeasure | null;
}

/** How the loss is measured, if the target has one, and what is left for calibration. */
export async function measuredData(
  model: tf.LayersModel,
  batches: Batches,
  {maxLoss}: AllocationTarget,
  {loss, heldOut, labels}: AllocationMeasures,
): Promise<MeasuredData> {
  if (maxLoss === undefined) return {calibration: batches, loss: null};
  if (loss !== undefined) return {calibration: batches, loss};
  const measure = (data: HeldOut) =>
    labels === undefined ? divergenceLoss(model, data) : accuracyLoss(model, data, labels);
  if (heldOut !== undefined) {
    const data = toBatches(heldOut);
    await checkNotEmpty(data);
    return {calibration: batches, loss: measure(allOf(data))};
  }
  const split = await holdOut(model, batches);
  return {calibration: split.calibration, loss: measure(split.heldOut)};
}

function isLabels(value: unknown): boolean {
  const {kind, values} = (value ?? {}) as Partial<Labels>;
  return (
    (kind === 'classes' && values instanceof Int32Array) || (kind === 'targets' && ArrayBuffer.isView(values))
  );
}

/** The layers of the allocation that a model was sparsified with, by their bounds; undefined if there is none. */
function savedScopes(model: tf.LayersModel): AllocationScopes | undefined {
  const saved = allocationOf(model);
  if (saved === null) return undefined;
  const groups = new Map<string, {readonly bounds: SparsityBounds; readonly names: string[]}>();
  for (const {path, minimum, maximum} of saved.layers) {
    const key = `${minimum} ${maximum}`;
    const group = groups.get(key) ?? {bounds: {minimum, maximum}, names: []};
    group.names.push(path);
    groups.set(key, group);
  }
  return [...groups.values()].map(({bounds, names}) => [new TargetScope({names}), bounds] as const);
}

/** @throws {ModelError} `not-probed`. */
function savedProbes(model: tf.LayersModel, paths: ReadonlySet<string>): ProbeErrors {
  const probes = allocationOf(model)?.probes ?? null;
  checkProbed(probes, paths);
  return probes;
}

/** @throws {ModelError} `not-probed`. */
function checkProbed(probes: ProbeErrors | null, paths: ReadonlySet<string>): asserts probes is ProbeErrors {
  const known = new Set(probes?.layers.map(({path}) => path));
  const missing = [...paths].filter((path) => !known.has(path));
  if (probes !== null && missing.length === 0) return;
  const some = missing.slice(0, 3).map((path) => `"${path}"`);
  throw new ModelError(
    'not-probed',
    `the model holds no probe errors of ${some.join(', ')}${missing.length > some.length ? ' and others' : ''}; give data to ` +
      'probe on, or name only layers that were allocated when it was sparsified',
    {missing},
  );
}

/** @throws {DatasetError} `no-data`. */
function dataOf(batches: Batches | null, what: string): Batches {
  if (batches !== null) return batches;
  throw new DatasetError(
    'no-data',
    `${what} needs data: give a data set, or a mean sparsity by method "local" or "uniform"`,
  );
}

function progressOf(
  {onProgress}: AllocateOptions,
  stage: AllocationProgress['stage'],
  sparsity: number | null = null,
): (progress: Progress) => void {
  return (progress) => onProgress?.({...progress, stage, sparsity});
}
