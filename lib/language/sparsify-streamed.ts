/**
 * @file A checkpoint becomes a sparsified, compressed model on disk with one decoder block in memory at a time: for
 * models larger than the memory. Each block is read, made INT8, and calibrated on what the blocks before it gave for
 * every batch, which is carried on; its weights are written and its memory is free before the next is read. The same
 * layers run on the same numbers in the same order as when the whole model is sparsified, so the files are the same,
 * byte for byte. Blocks one after the other: TEAL (Liu et al. 2024, arXiv:2408.14690) calibrates so.
 */
import * as tf from '@tensorflow/tfjs';
import {CALIBRATION} from '../calibration/calibration-option-rules.js';
import type {CalibrationMethod, CalibrationOptions} from '../calibration/calibrate.js';
import {warnOfTargets} from '../calibration/reached-sparsity.js';
import type {Progress} from '../calibration/model-batches.js';
import {attachStatistics} from '../metadata/attached-statistics.js';
import type {Batches} from '../dataset.js';
import {SparsifyError} from '../errors.js';
import {loadBackend} from '../backend/load.js';
import {SAVE_RULES, checkSavePath, saveWithWeights, type SaveOptions} from '../io/model/model-files.js';
import {inspect, type DenseReport} from '../model/inspect.js';
import {CALLBACK, CHECKED_LATER, FLAG, checkOptions, type OptionRules} from '../option-rules.js';
import {IGNORED_SCOPE} from '../scope/target-scope.js';
import type {SparsifyScopes} from '../sparsify.js';
import type {WarningOptions} from '../warnings.js';
import type {Checkpoint} from './weights/checkpoint.js';
import {openCheckpoint} from './import/open-checkpoint.js';
import {languageModelOf} from './load-language-model.js';
import {checkedPlan} from './weights/load-weights.js';
import {ModelOutline} from './weights/model-outline.js';
import {PartsCalibration} from './weights/parts-calibration.js';
import {WEIGHTS_AS_READ_RULES, checkOneFormat, type WeightsAsRead} from './weights/packed-weights.js';
import {streamOrder, streamedWeights} from './weights/streamed-weights.js';
import {TEXT_DATASET_RULES, type TextDatasetOptions} from './text-dataset.js';

export interface SparsifyStreamedOptions
  extends Partial<SparsifyScopes>, WeightsAsRead, TextDatasetOptions, SaveOptions {
  /**
   * What thresholds are found on: text, token ids, or batches of ids int32 [B, T]; or a function that makes those for
   * the model, whose weights have no values. Needed with targets.
   */
  readonly data?:
    string | readonly number[] | Batches | ((model: tf.LayersModel) => Batches | Promise<Batches>);
  /** As of `sparsifyActivations`. */
  readonly calibration?: CalibrationMethod | CalibrationOptions;
  /** Save the statistics that `retarget` needs. True by default. */
  readonly saveStatistics?: boolean;
  /** Called after every part: the embedding, each block, the head. */
  readonly onProgress?: (progress: Progress) => void;
  /** As of `sparsifyActivations`. */
  readonly onWarning?: WarningOptions['onWarning'];
}

const RULES: OptionRules<SparsifyStreamedOptions> = {
  ...TEXT_DATASET_RULES,
  ...SAVE_RULES,
  targetSparsityByScope: CHECKED_LATER,
  ignoredScope: IGNORED_SCOPE,
  data: CHECKED_LATER,
  ...WEIGHTS_AS_READ_RULES,
  calibration: CALIBRATION,
  saveStatistics: FLAG,
  onProgress: CALLBACK,
  onWarning: CALLBACK,
};

/**
 * Imports a checkpoint, compresses, sparsifies and saves it, one decoder block in memory at a time. Where no backend of
 * TensorFlow.js is in use yet, the fastest that works is loaded first.
 *
 * Memory: the largest of a block and the embedding in float32, what the block gives for all batches (4 bytes for each
 * token and hidden unit), and a few tensors. The result is that of `loadLanguageModel`, `compressWeights`,
 * `sparsifyActivations` and `save`, byte for byte.
 *
 * @param path A Hugging Face folder or a GGUF file.
 * @param out A folder; an older model in it is replaced once the new one is whole. `loadLanguageModel` loads it.
 * @returns The report of `inspect`.
 * @throws {SparsifyError} `missing-option` for targets without data, `unsupported-option` for both
 *   `weights` and `compress`; {ScopeError} if the scopes do not fit the model;
 *   {FileError}, {ModelError} as `loadLanguageModel` and `compressWeights`; {DatasetError} as `sparsifyActivations`; the
 *   signal's reason. Nothing is written then.
 * @example
 * await sparsifyStreamed('llama-2-7b', 'sparse', {
 *   compress: 'int8_asym',
 *   targetSparsityByScope: {[PROJECTIONS.all]: 0.5},
 *   data: text,
 * });
 */
export async function sparsifyStreamed(
  path: string,
  out: string,
  options: SparsifyStreamedOptions = {},
): Promise<DenseReport[]> {
  checkOptions('sparsifyStreamed', options, RULES);
  checkOneFormat(options);
  if (options.targetSparsityByScope !== undefined && options.data === undefined) {
    throw new SparsifyError('missing-option', 'sparsifyStreamed needs data to find thresholds: give a text');
  }
  if (!tf.engine().backendName) await loadBackend();
  await checkSavePath(out);
  const checkpoint = await openCheckpoint(path);
  try {
    return await sparsifyCheckpoint(checkpoint, out, options);
  } finally {
    await checkpoint.close();
  }
}

/** `sparsifyStreamed` of an open checkpoint, which stays open. */
export async function sparsifyCheckpoint(
  checkpoint: Checkpoint,
  out: string,
  options: SparsifyStreamedOptions,
): Promise<DenseReport[]> {
  const {saveStatistics = true, signal, onProgress, maxShardBytes} = options;
  const plan = checkedPlan(checkpoint);
  const outline = new ModelOutline(checkpoint, options);
  let calibration: PartsCalibration | null = null;
  try {
    if (outline.targets.size > 0) {
      const dataset = await datasetOf(outline.model, options);
      const {calibration: method = 'pooled'} = options;
      calibration = new PartsCalibration(outline.targets, dataset, {
        ...(typeof method === 'string' ? {method} : method),
        signal,
      });
    }
    const calibrated = calibration;
    const weights = streamedWeights(outline, checkpoint, plan, calibrated, {signal, onProgress});
    const withStatistics = async function* () {
      yield* weights;
      if (calibrated !== null) attachStatistics(outline.model, calibrated.statistics(), saveStatistics);
    };
    const order = streamOrder(outline.model);
    await saveWithWeights(outline.model, out, {order, pieces: withStatistics()}, {maxShardBytes});
    const layers = inspect(outline.model);
    if (calibrated !== null) warnOfTargets(layers, calibrated.statistics(), options);
    return layers;
  } finally {
    calibration?.dispose();
    outline.dispose();
  }
}

async function datasetOf(model: tf.LayersModel, options: SparsifyStreamedOptions): Promise<Batches> {
  const {data, sequenceLength, sequences, batchSize} = options;
  if (typeof data === 'function') return data(model);
  if (typeof data === 'string' || isIds(data)) {
    return languageModelOf(model).dataset(data, {sequenceLength, sequences, batchSize});
  }
  return data!;
}

function isIds(data: Exclude<SparsifyStreamedOptions['data'], string>): data is readonly number[] {
  return Array.isArray(data);
}
