/**
 * @file INT8 and INT4 weights: the layers' kernels and embeddings become 8 or 4 bits with scales and zero points, in memory and
 * on disk, with NNCF's arithmetic and NNCF's choice of layers. And the way back to float32.
 */
import type * as tf from '@tensorflow/tfjs';
import type {Progress} from './calibration/model-batches.js';
import {copyStatistics} from './metadata/attached-statistics.js';
import {ModelError, ScopeError, SparsifyError} from './errors.js';
import {
  INT4_OPTION_RULES,
  checkCombination,
  compressionMode,
  type CompressionMode,
  type Int4Options,
} from './compression/compression-options.js';
import {
  isPartial,
  planCompression,
  selectWeights,
  type CompressionPlan,
  type Selection,
} from './compression/plan.js';
import {quantizeOnData, type Int4Kernel} from './compression/data-aware.js';
import {sensitivityScores} from './compression/sensitivity.js';
import {toBatches, type Batches, type DataSource} from './dataset.js';
import type {CompressedWeight} from './layers/compressed-weight.js';
import {cloneModel} from './model/clone.js';
import {
  COMPRESSIBLE_TYPES,
  compressibleWeights,
  reportWeights,
  type PlacedWeight,
  type WeightReport,
} from './model/compressible.js';
import {checkUsable, graphOf} from './model/dense-layers.js';
import type {ModelLayers} from './model/walk.js';
import {dequantizeLayers, quantizeWeight, replaceWeight} from './model/replace-weights.js';
import {forgetVariables} from './model/training-state.js';
import {CALLBACK, CHECKED_LATER, FLAG, SIGNAL, checkOptions, type OptionRules} from './option-rules.js';
import {matchScope} from './scope/match-scope.js';
import {IGNORED_SCOPE, type IgnoredScope, type TargetScope} from './scope/target-scope.js';
import {floatsOf} from './tensor-values.js';
import type {LayerVariable} from './tfjs.js';

export interface CompressOptions extends Int4Options {
  /**
   * `int8_asym` by default: a zero point a channel, so that the steps cover just the range; `int8_sym` has none. `int4_asym` and `int4_sym`
   * likewise, for groups of inputs.
   */
  readonly mode?: CompressionMode;
  /** What layers read, for the sensitivity of a ratio below 1 and for `dataAware`: as for `sparsifyActivations`. */
  readonly dataset?: Batches | DataSource<unknown>;
  /**
   * Of INT4: round the kernels of Dense layers so that the errors of their inputs cancel on the data set, all of which is held between
   * two layers. False by default, as in NNCF.
   */
  readonly dataAware?: boolean;
  /** Layers that stay float32. */
  readonly ignoredScope?: IgnoredScope | TargetScope | null;
  /** Change the given model instead of a copy, and free its float32 weights. False by default. */
  readonly inPlace?: boolean;
  /** Called after every weight. */
  readonly onProgress?: (progress: Progress) => void;
  /** Stops between two weights; the given model is then as it was. */
  readonly signal?: AbortSignal;
}

const RULES: OptionRules<CompressOptions> = {
  ...INT4_OPTION_RULES,
  mode: compressionMode,
  dataset: CHECKED_LATER, // by the walk over it
  dataAware: FLAG,
  ignoredScope: IGNORED_SCOPE,
  inPlace: FLAG,
  onProgress: CALLBACK,
  signal: SIGNAL,
};

/**
 * Makes the weights of a model's Dense, Embedding and convolution layers INT8, per output channel: a quarter of the
 * memory and of the disk. Or makes the kernels of Dense layers INT4, per group of inputs: an eighth. Biases and other layers stay
 * float32. Weights that are packed already stay as they are.
 *
 * Which weights become INT4 is as in NNCF: kernels of Dense layers but the last, and the others get `backupMode`; `allLayers`, `ratio`,
 * `groupSizeFallback` change that.
 *
 * Compressed layers are not trainable, biases are. Sparsify before or after.
 *
 * @param model Built. Left as it was, and usable, unless `inPlace`.
 * @returns A model that predicts, saves and serves like the given one; the caller disposes it. It shares the memory of
 *   what stays float32. Loading it needs `registerLayers()` first.
 * @throws {SparsifyError} `unsupported-mode`, `unknown-option`, `bad-option`, `unsupported-option` (of INT4, for INT8),
 *   `missing-dataset` (for a metric or for `dataAware`); {ScopeError} if the scope does not fit the model; {ModelError} `nothing-to-compress`,
 *   `bad-group-size`, or `not-finite`, `int8-overflow` or `int4-overflow` for weights that a format cannot hold;
 *   {DatasetError} for a bad item; the signal's reason if aborted. Nothing is changed then.
 * @example
 * const small = await compressWeights(model, {ignoredScope: new IgnoredScope({names: ['head']})});
 * const tiny = await compressWeights(model, {mode: 'int4_asym', groupSize: 64});
 * const better = await compressWeights(model, {mode: 'int4_asym', groupSize: 64, dataset: texts, dataAware: true});
 */
export async function compressWeights(
  model: tf.LayersModel,
  options: CompressOptions = {},
): Promise<tf.LayersModel> {
  checkOptions('compressWeights', options, RULES);
  const {ignoredScope = null, inPlace = false, onProgress, signal} = options;
  const selection = selectionOf(model, ignoredScope, options);
  const plan = await planFor(model, selection, options);
  const compressed = inPlace ? model : cloneModel(model);
  const made = new Map<LayerVariable, CompressedWeight>();
  try {
    const weights = compressibleWeights(compressed).filter(({path}) => plan.has(path));
    if (options.dataAware === true) {
      const onWeight = (variable: LayerVariable, weight: CompressedWeight) => {
        made.set(variable, weight);
        onProgress?.({done: made.size, total: weights.length});
      };
      await quantizeOnData(compressed, int4Kernels(weights, plan), toBatches(options.dataset!), {
        onWeight,
        signal,
      });
    }
    for (const [i, placed] of weights.entries()) {
      signal?.throwIfAborted();
      const {path, variable} = placed; // two layers may share it
      if (!made.has(variable)) {
        made.set(variable, quantizeWeight(placed, floatsOf(await variable.read().data()), plan.get(path)!));
      }
      onProgress?.({done: i + 1, total: weights.length});
    }
    signal?.throwIfAborted();
    for (const placed of weights) replaceWeight(placed, made.get(placed.variable)!);
    forgetVariables(compressed, new Set(made.keys()));
  } catch (error) {
    for (const weight of made.values()) for (const variable of weight.list()) variable.dispose();
    if (!inPlace) compressed.dispose();
    throw error;
  }
  copyStatistics(model, compressed);
  return compressed;
}

/** The kernels of Dense layers that are to be INT4: embeddings read nothing that could be measured. */
function int4Kernels(weights: readonly PlacedWeight[], plan: CompressionPlan): Int4Kernel[] {
  return weights.flatMap((placed) => {
    const compression = plan.get(placed.path)!;
    return placed.weight.layout === 'columns' && 'int4' in compression
      ? [{placed, config: compression.int4}]
      : [];
  });
}

/** The plan for a model whose weights have values. */
async function planFor(
  model: tf.LayersModel,
  selection: Selection,
  {ratio = 1, sensitivityMetric, dataset, signal}: CompressOptions,
): Promise<CompressionPlan> {
  const weights = compressibleWeights(model);
  if (!isPartial(ratio)) return planCompression(weights, selection, ratio, null);
  const metric =
    sensitivityMetric ?? (dataset === undefined ? 'weight_quantization_error' : 'max_activation_variance');
  const batches = dataset === undefined ? undefined : toBatches(dataset);
  const scores = await sensitivityScores(model, selection.candidates, metric, batches, {signal});
  return planCompression(weights, selection, ratio, scores);
}

/**
 * What `compressWeights` would do with a model whose weights have no values yet.
 *
 * @throws {SparsifyError} `unsupported-option` for a ratio below 1, which is a choice by the weights; {ScopeError} or {ModelError} as `compressWeights`.
 */
export function compressionPlan(
  model: tf.LayersModel,
  ignoredScope: IgnoredScope | TargetScope | null,
  options: Int4Options & {readonly mode: CompressionMode},
): CompressionPlan {
  const {ratio = 1} = options;
  if (isPartial(ratio)) {
    throw new SparsifyError(
      'unsupported-option',
      `the ratio is ${ratio}, which chooses layers by their weights, and these are compressed as they are read: leave the ratio out, or ` +
        'compress the model once it is loaded',
      {ratio},
    );
  }
  return planCompression(compressibleWeights(model), selectionOf(model, ignoredScope, options), ratio, null);
}

function selectionOf(
  model: tf.LayersModel,
  ignoredScope: IgnoredScope | TargetScope | null,
  options: CompressOptions,
): Selection {
  const {mode = 'int8_asym'} = options;
  checkCombination(mode, options);
  const ignored = ignoredPaths(model, checkUsable(model), ignoredScope);
  checkAnyLeft(model, ignored);
  return selectWeights(compressibleWeights(model), ignored, mode, options);
}

export interface DecompressOptions {
  /** Change the given model instead of a copy. False by default. */
  readonly inPlace?: boolean;
}

/**
 * Makes packed weights float32 again, for tools that know only stock layers: what a layer computes stays the same.
 * Layers that mask their inputs stay `SparsifyingDense`.
 *
 * @param model Left as it was, and usable, unless `inPlace`.
 * @returns The model; the caller disposes it.
 * @example
 * await decompressWeights(small).save('file://float32');
 */
export function decompressWeights(model: tf.LayersModel, options: DecompressOptions = {}): tf.LayersModel {
  checkOptions<DecompressOptions>('decompressWeights', options, {inPlace: FLAG});
  const {inPlace = false} = options;
  checkUsable(model);
  const float = inPlace ? model : cloneModel(model);
  dequantizeLayers(float);
  copyStatistics(model, float);
  return float;
}

/**
 * Every weight of a model that is packed or can be: format, size, layer, in the order of the graph.
 *
 * @throws {ModelError} if the model is no tf.LayersModel or is disposed.
 * @example
 * console.table(inspectWeights(model));
 */
export function inspectWeights(model: tf.LayersModel): WeightReport[] {
  checkUsable(model);
  return reportWeights(model);
}

function ignoredPaths(
  model: tf.LayersModel,
  walked: ModelLayers,
  scope: IgnoredScope | TargetScope | null,
): ReadonlySet<string> {
  if (scope === null) return new Set();
  const graph = graphOf(walked);
  const hinted = [...new Set(compressibleWeights(model).map(({path}) => path))];
  return new Set(matchScope(graph, scope, hinted).map((node) => graph.nodes[node].name));
}

function checkAnyLeft(model: tf.LayersModel, ignored: ReadonlySet<string>): void {
  const paths = [...new Set(compressibleWeights(model).map(({path}) => path))];
  const types = COMPRESSIBLE_TYPES.join(', ');
  if (paths.length === 0) {
    throw new ModelError(
      'nothing-to-compress',
      `the model has no weight to compress; INT8 and INT4 are for the weights of these layers: ${types}`,
      {types: COMPRESSIBLE_TYPES},
    );
  }
  if (paths.every((path) => ignored.has(path))) {
    throw new ScopeError(
      'nothing-to-compress',
      `the ignored scope leaves nothing to compress: it holds all ${paths.length} layers of the types ${types}; ` +
        'narrow it',
      {ignored: paths},
    );
  }
}
