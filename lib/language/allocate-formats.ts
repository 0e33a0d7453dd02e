/**
 * @file In which format a language model's weights are to be, and how much its layers are to mask: `allocateFormats` with the loss and the speed of
 * `allocateLanguageModel`.
 */
import type * as tf from '@tensorflow/tfjs';
import {
  ALLOCATE_FORMATS_RULES,
  COMPARE_FORMATS_RULES,
  allocateFormats,
  compareFormats,
  type AllocateFormatsOptions,
  type CompareFormatsOptions,
  type FormatAllocation,
  type FormatComparison,
} from '../allocate-formats.js';
import type {ModelFormat} from '../allocation/format-points.js';
import {modelInFormat, type ModelInFormatOptions} from '../model-in-format.js';
import {checkOptions, type OptionRules} from '../option-rules.js';
import {TEXT_SHARE_RULES, textMeasures, type AllocateTextOptions} from './allocate-language-model.js';
import {attachDecoderWeights} from './config/saved-metadata.js';
import {createNativeDecoder} from './decoding/native-decoder.js';
import type {LanguageModel} from './language-model.js';

type TextShares = Pick<AllocateTextOptions, 'sequences' | 'sequenceLength' | 'heldOutTokens'>;
type Measured = 'heldOut' | 'labels' | 'toBfloat16';

/** `kept`: the model as its file has it, of the same checkpoint, where that holds packed weights. */
export interface CompareTextFormatsOptions extends Omit<CompareFormatsOptions, Measured>, TextShares {}

/** As `CompareTextFormatsOptions`, with a target. */
export interface AllocateTextFormatsOptions extends Omit<AllocateFormatsOptions, Measured>, TextShares {}

const {heldOut: _heldOut, labels: _labels, toBfloat16: _toBfloat16, ...COMPARE_RULES} = COMPARE_FORMATS_RULES;
const {heldOut: _unseen, labels: _classes, toBfloat16: _rounded, ...ALLOCATE_RULES} = ALLOCATE_FORMATS_RULES;
const COMPARE_TEXT_RULES: OptionRules<CompareTextFormatsOptions> = {...COMPARE_RULES, ...TEXT_SHARE_RULES};
const ALLOCATE_TEXT_RULES: OptionRules<AllocateTextFormatsOptions> = {...ALLOCATE_RULES, ...TEXT_SHARE_RULES};

const {kept, signal} = COMPARE_FORMATS_RULES;
const IN_FORMAT_RULES: OptionRules<Pick<ModelInFormatOptions, 'kept' | 'signal'>> = {kept, signal};

/** A loss that decides between formats and no more is measured on so many tokens; the search for a mean has as many. */
const HELD_OUT_TOKENS = 4096;

/**
 * Measures formats of a language model's weights, each dense and at some sparsities: relative perplexity on the end of the text, and the time of a
 * token while decoding.
 *
 * @param lm The float32 model, not sparsified; left as it is.
 * @param text As for `allocateLanguageModel`.
 * @throws As `compareFormats`; {DatasetError} `too-short`.
 */
export async function compareLanguageModelFormats(
  lm: LanguageModel,
  text: string | readonly string[] | readonly number[],
  options: CompareTextFormatsOptions = {},
): Promise<FormatComparison> {
  checkOptions('compareLanguageModelFormats', options, COMPARE_TEXT_RULES);
  const {dataset, ...rest} = textMeasures(lm, text, {heldOutTokens: HELD_OUT_TOKENS, ...options}, true);
  return compareFormats(lm.model, dataset, {...rest, toBfloat16: bfloat16Of(lm)});
}

/**
 * Finds the format of a language model's weights and the mean sparsity for a target.
 *
 * @param lm The float32 model, not sparsified; left as it is.
 * @param text As for `allocateLanguageModel`.
 * @returns Calibrate as after `allocateLanguageModel`, on a model that `languageModelInFormat` gives.
 * @throws As `allocateFormats`; {DatasetError} `too-short`.
 * @example
 * const lm = await loadLanguageModel(path, {weights: 'float32'});
 * const kept = (await loadLanguageModel(path)).model;
 * const {chosen, allocation} = await allocateLanguageModelFormats(lm, text, {target: {maxLoss: 0.02}, kept});
 * const model = await languageModelInFormat(lm, chosen.format, {kept});
 */
export async function allocateLanguageModelFormats(
  lm: LanguageModel,
  text: string | readonly string[] | readonly number[],
  options: AllocateTextFormatsOptions,
): Promise<FormatAllocation> {
  checkOptions('allocateLanguageModelFormats', options, ALLOCATE_TEXT_RULES);
  const {dataset, ...rest} = textMeasures(lm, text, {heldOutTokens: HELD_OUT_TOKENS, ...options}, true);
  return allocateFormats(lm.model, dataset, {...rest, toBfloat16: bfloat16Of(lm)});
}

/**
 * A language model's LayersModel in a format, as it was measured. One in bfloat16 holds float32 weights, and says in its metadata that the
 * decoder is to round them.
 *
 * @param lm The float32 model; left as it is.
 * @returns The caller disposes it.
 * @throws As `modelInFormat`.
 */
export async function languageModelInFormat(
  lm: LanguageModel,
  format: ModelFormat,
  options: Pick<ModelInFormatOptions, 'kept' | 'signal'> = {},
): Promise<tf.LayersModel> {
  checkOptions('languageModelInFormat', options, IN_FORMAT_RULES);
  const {kept, signal} = options;
  return modelInFormat(lm.model, format, {kept, signal, toBfloat16: bfloat16Of(lm)});
}

/** Makes a model's decoder round its weights, or why it cannot. */
function bfloat16Of(lm: LanguageModel): ((model: tf.LayersModel) => void) | string {
  const decoder = createNativeDecoder(lm.model, lm.config, {weights: 'bfloat16'});
  if (decoder === null)
    return 'only the fused decoder computes in bfloat16, and there is none for this model here';
  decoder.dispose();
  return (model) => attachDecoderWeights(model, 'bfloat16');
}
