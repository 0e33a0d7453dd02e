/** @file Language models from the disk: checkpoints of Hugging Face and GGUF, and folders that `save` wrote. */
import {readdir, stat} from 'node:fs/promises';
import * as tf from '@tensorflow/tfjs';
import {loadBackend} from '../backend/load.js';
import {loadLayersModel, saveLayersModel} from '../io/model/model-files.js';
import {ModelError} from '../errors.js';
import {checkOptions, nested, oneOf, type OptionRules} from '../option-rules.js';
import {buildModel} from './graph/build-model.js';
import {openCheckpoint} from './import/open-checkpoint.js';
import {LanguageModel} from './language-model.js';
import {registerLlamaLayers} from './graph/layers/register-llama-layers.js';
import {
  LOAD_WEIGHTS_RULES,
  checkedPlan,
  loadPlanned,
  type LoadWeightsOptions,
} from './weights/load-weights.js';
import {PackedWeights, READ_FORMATS, planAsRead, type ReadFormat} from './weights/packed-weights.js';
import {NATIVE_DECODER_RULES, type NativeDecoderOptions} from './decoding/native-decoder.js';
import {attachMetadata} from './config/saved-metadata.js';

export interface LoadLanguageModelOptions extends LoadWeightsOptions {
  /**
   * What a checkpoint's weights become. By default `keep`: matrices that a GGUF file holds in Q4_0, Q4_1 or Q4_K stay 4 bits, and
   * what such a file holds in 5 to 8 bits becomes INT8; all others are float32. `int8` is what `compressWeights` makes by default.
   */
  readonly weights?: ReadFormat;
  /** How weights and cache are stored while decoding; float32 by default. */
  readonly decoder?: NativeDecoderOptions;
}

const DECODER_RULES: OptionRules<Pick<LoadLanguageModelOptions, 'decoder'>> = {
  decoder: nested(NATIVE_DECODER_RULES),
};
const RULES: OptionRules<LoadLanguageModelOptions> = {
  ...LOAD_WEIGHTS_RULES,
  ...DECODER_RULES,
  weights: oneOf(READ_FORMATS),
};

/**
 * Loads a language model. Where no backend of TensorFlow.js is in use yet, the fastest that works is loaded first.
 *
 * @param path A Hugging Face folder (`config.json`, safetensors, tokenizer), a GGUF file, or a folder, `model.json` or URL
 *   of a model that was saved. Without a tokenizer the model works on token ids.
 * @returns The model, owned by the caller.
 * @throws {FileError} if files are missing or malformed; {ModelError} if a checkpoint is damaged or of another family,
 *   `not-a-language-model` for another LayersModel, `saved-weights` if `weights` asks for other weights than a saved model has; the
 *   signal's reason.
 * @example
 * const lm = await loadLanguageModel('SmolLM2-135M-Instruct.Q4_1.gguf');
 */
export async function loadLanguageModel(
  path: string,
  options: LoadLanguageModelOptions = {},
): Promise<LanguageModel> {
  checkOptions('loadLanguageModel', options, RULES);
  const {decoder} = options;
  if (!tf.engine().backendName) await loadBackend();
  if (await isCheckpoint(path)) return importCheckpoint(path, options);
  checkKept(path, options);
  registerLlamaLayers();
  const model = await loadLayersModel(path);
  try {
    return languageModelOf(model, {decoder});
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/**
 * A LayersModel that was loaded or sparsified elsewhere, as the language model that it is.
 *
 * @throws {ModelError} `not-a-language-model`, `malformed-metadata`.
 */
export function languageModelOf(
  model: tf.LayersModel,
  options: Pick<LoadLanguageModelOptions, 'decoder'> = {},
): LanguageModel {
  checkOptions('languageModelOf', options, DECODER_RULES);
  const {decoder} = options;
  return new LanguageModel(model, {saveModel: saveLayersModel, decoder});
}

/** Whether a path is a checkpoint to import rather than a saved LayersModel: a GGUF file, or a folder without model. */
export async function isCheckpoint(path: string): Promise<boolean> {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(path) || /\.json$/i.test(path)) return false;
  if (/\.gguf$/i.test(path)) return true;
  try {
    if (!(await stat(path)).isDirectory()) return false;
    const names = await readdir(path);
    return !names.includes('model.json') && names.some((name) => /^config\.json$|\.gguf$/i.test(name));
  } catch {
    return false; // what reads the path says what is wrong with it
  }
}

/** A saved model is loaded as it is. */
function checkKept(path: string, {weights = 'keep'}: LoadLanguageModelOptions): void {
  if (weights === 'keep') return;
  const remedy = weights === 'int8' ? 'compressWeights' : 'decompressWeights';
  throw new ModelError(
    'saved-weights',
    `the option weights is "${weights}", which is for checkpoints, and ${path} is a saved model: leave the option out, and call ` +
      `${remedy}(lm.model) on what was loaded`,
    {path, weights},
  );
}

async function importCheckpoint(
  path: string,
  {decoder, weights, ...options}: LoadLanguageModelOptions,
): Promise<LanguageModel> {
  const checkpoint = await openCheckpoint(path);
  try {
    const model = buildModel(checkpoint.config);
    try {
      const plan = checkedPlan(checkpoint);
      const store = new PackedWeights(model, planAsRead(model, {weights}, checkpoint));
      await loadPlanned(model, checkpoint, plan, options, store);
      attachMetadata(model, checkpoint);
      return languageModelOf(model, {decoder});
    } catch (error) {
      model.dispose();
      throw error;
    }
  } finally {
    await checkpoint.close();
  }
}
