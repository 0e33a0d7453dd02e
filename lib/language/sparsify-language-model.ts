/** @file Sparsifying a language model on text, in place: the model in use masks from then on, and no second one is held. */
import {inspect, type DenseReport} from '../model/inspect.js';
import {SPARSIFY_RULES, sparsifyActivations, type SparsifyOptions} from '../sparsify.js';
import {checkOptions, type OptionRules} from '../option-rules.js';
import {LANGUAGE_CALIBRATION} from './allocate-language-model.js';
import type {LanguageModel} from './language-model.js';
import {TEXT_DATASET_RULES, type TextDatasetOptions} from './text-dataset.js';

/**
 * As for `sparsifyActivations` and `LanguageModel.dataset`, with other defaults: `calibration` is `LANGUAGE_CALIBRATION`, and
 * statistics are saved with the model.
 */
export interface SparsifyTextOptions extends Omit<SparsifyOptions, 'inPlace'>, TextDatasetOptions {}

const {inPlace: _inPlace, ...SHARED_RULES} = SPARSIFY_RULES;
const RULES: OptionRules<SparsifyTextOptions> = {...SHARED_RULES, ...TEXT_DATASET_RULES};

/**
 * Sparsifies a language model on a text, in place.
 *
 * @param lm Its model masks from then on; as it was if this fails. No other call should run meanwhile.
 * @param text As for `LanguageModel.dataset`: a few thousand tokens are enough.
 * @returns What `inspect` says afterwards.
 * @throws As `sparsifyActivations` and `LanguageModel.dataset`.
 * @example
 * await sparsifyLanguageModel(lm, text, {targetSparsityByScope: {[PROJECTIONS.all]: 0.5}, sequences: 8});
 * retarget(lm.model, {[PROJECTIONS.all]: 0.3});
 */
export async function sparsifyLanguageModel(
  lm: LanguageModel,
  text: string | readonly string[] | readonly number[],
  options: SparsifyTextOptions,
): Promise<DenseReport[]> {
  checkOptions('sparsifyLanguageModel', options, RULES);
  const {sequenceLength, sequences, batchSize, ...rest} = options;
  await sparsifyActivations(lm.model, lm.dataset(text, {sequenceLength, sequences, batchSize}), {
    calibration: LANGUAGE_CALIBRATION,
    saveStatistics: true,
    ...rest,
    inPlace: true,
  });
  return inspect(lm.model);
}
