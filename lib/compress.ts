/**
 * @file INT8 weights: the layers' kernels and embeddings become signed bytes with a scale and a zero point an output
 * channel, in memory and on disk, with NNCF's arithmetic. And the way back to float32.
 */
import type * as tf from '@tensorflow/tfjs';
import type {Progress} from './calibration/model-batches.js';
import {copyStatistics} from './metadata/attached-statistics.js';
import {ModelError, ScopeError} from './errors.js';
import {asInt8, type Int8Weight} from './layers/int8-weight.js';
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
import {dequantizeLayers, quantizeWeight, replaceByInt8} from './model/replace-by-int8.js';
import {forgetVariables} from './model/training-state.js';
import {CALLBACK, FLAG, SIGNAL, checkOptions, type OptionRules} from './option-rules.js';
import {INT8_MODE, type Int8Mode} from './quantization/int8.js';
import {matchScope} from './scope/match-scope.js';
import {IGNORED_SCOPE, type IgnoredScope, type TargetScope} from './scope/target-scope.js';
import {floatsOf} from './tensor-values.js';
import type {LayerVariable} from './tfjs.js';

export interface CompressOptions {
  /** `int8_asym` by default: a zero point a channel, so that the steps cover just the range; `int8_sym` has none. */
  readonly mode?: Int8Mode;
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
  mode: INT8_MODE,
  ignoredScope: IGNORED_SCOPE,
  inPlace: FLAG,
  onProgress: CALLBACK,
  signal: SIGNAL,
};

/**
 * Makes the weights of a model's Dense, Embedding and convolution layers INT8, per output channel: a quarter of the
 * memory and of the disk. Biases and other layers stay float32. Layers that are INT8 already stay as they are.
 *
 * Compressed layers are not trainable, biases are. Sparsify before or after.
 *
 * @param model Built. Left as it was, and usable, unless `inPlace`.
 * @returns A model that predicts, saves and serves like the given one; the caller disposes it. It shares the memory of
 *   what stays float32. Loading it needs `registerLayers()` first.
 * @throws {SparsifyError} `unsupported-mode`, `unknown-option`; {ScopeError} if the scope does not fit the model;
 *   {ModelError} `nothing-to-compress`, or `not-finite` or `int8-overflow` for weights that INT8 cannot hold; the
 *   signal's reason if aborted. Nothing is changed then.
 * @example
 * const small = await compressWeights(model, {ignoredScope: new IgnoredScope({names: ['head']})});
 */
export async function compressWeights(
  model: tf.LayersModel,
  options: CompressOptions = {},
): Promise<tf.LayersModel> {
  checkOptions('compressWeights', options, RULES);
  const {mode = 'int8_asym', ignoredScope = null, inPlace = false, onProgress, signal} = options;
  const selected = weightPaths(model, ignoredScope);
  const compressed = inPlace ? model : cloneModel(model);
  const made = new Map<LayerVariable, Int8Weight>();
  try {
    const weights = compressibleWeights(compressed).filter(
      ({path, variable}) => selected.has(path) && asInt8(variable) === undefined,
    );
    for (const [i, placed] of weights.entries()) {
      signal?.throwIfAborted();
      const {variable} = placed; // two layers may share it
      if (!made.has(variable)) made.set(variable, await quantize(placed, mode));
      onProgress?.({done: i + 1, total: weights.length});
    }
    signal?.throwIfAborted();
    for (const placed of weights) replaceByInt8(placed, made.get(placed.variable)!);
    forgetVariables(compressed, new Set(made.keys()));
  } catch (error) {
    for (const weight of made.values()) for (const variable of weight.list()) variable.dispose();
    if (!inPlace) compressed.dispose();
    throw error;
  }
  copyStatistics(model, compressed);
  return compressed;
}

export interface DecompressOptions {
  /** Change the given model instead of a copy. False by default. */
  readonly inPlace?: boolean;
}

/**
 * Makes INT8 weights float32 again, for tools that know only stock layers: what a layer computes stays the same.
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
 * Every weight of a model that is INT8 or can be made so: format, size, layer, in the order of the graph.
 *
 * @throws {ModelError} if the model is no tf.LayersModel or is disposed.
 * @example
 * console.table(inspectWeights(model));
 */
export function inspectWeights(model: tf.LayersModel): WeightReport[] {
  checkUsable(model);
  return reportWeights(model);
}

async function quantize(placed: PlacedWeight, mode: Int8Mode): Promise<Int8Weight> {
  return quantizeWeight(placed, floatsOf(await placed.variable.read().data()), mode);
}

/**
 * The layers that `compressWeights` makes INT8.
 *
 * @returns Their paths, those that are INT8 already too.
 * @throws {ScopeError} or {ModelError} as `compressWeights`.
 */
export function weightPaths(
  model: tf.LayersModel,
  ignoredScope: IgnoredScope | TargetScope | null,
): ReadonlySet<string> {
  const ignored = ignoredPaths(model, checkUsable(model), ignoredScope);
  checkAnyLeft(model, ignored);
  return new Set(compressibleWeights(model).flatMap(({path}) => (ignored.has(path) ? [] : [path])));
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
      `the model has no weight to compress; INT8 is for the weights of these layers: ${types}`,
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
