/** @file Language models from the disk: checkpoints of Hugging Face and GGUF, and folders that `save` wrote. */
import {readdir, stat} from 'node:fs/promises';
import * as tf from '@tensorflow/tfjs';
import {loadBackend} from '../backend/load.js';
import {loadLayersModel, saveLayersModel} from '../io/model/model-files.js';
import {checkOptions, nested, type OptionRules} from '../option-rules.js';
import {buildModel} from './graph/build-model.js';
import {openCheckpoint} from './import/open-checkpoint.js';
import {LanguageModel} from './language-model.js';
import {registerLlamaLayers} from './graph/layers/register-llama-layers.js';
import {LOAD_WEIGHTS_RULES, loadWeights, type LoadWeightsOptions} from './weights/load-weights.js';
import {NATIVE_DECODER_RULES, type NativeDecoderOptions} from './decoding/native-decoder.js';
import {attachMetadata} from './config/saved-metadata.js';

export interface LoadLanguageModelOptions extends LoadWeightsOptions {
  /** How weights and cache are stored while decoding; float32 by default. */
  readonly decoder?: NativeDecoderOptions;
}

const DECODER_RULES: OptionRules<Pick<LoadLanguageModelOptions, 'decoder'>> = {
  decoder: nested(NATIVE_DECODER_RULES),
};
const RULES: OptionRules<LoadLanguageModelOptions> = {...LOAD_WEIGHTS_RULES, ...DECODER_RULES};

/**
 * Loads a language model. Where no backend of TensorFlow.js is in use yet, the fastest that works is loaded first.
 *
 * @param path A Hugging Face folder (`config.json`, safetensors, tokenizer), a GGUF file, or a folder, `model.json` or URL
 *   of a model that was saved. Without a tokenizer the model works on token ids.
 * @returns The model, owned by the caller.
 * @throws {FileError} if files are missing or malformed; {ModelError} if a checkpoint is damaged or of another family,
 *   `not-a-language-model` for another LayersModel; the signal's reason.
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

async function importCheckpoint(
  path: string,
  {decoder, ...options}: LoadLanguageModelOptions,
): Promise<LanguageModel> {
  const checkpoint = await openCheckpoint(path);
  try {
    const model = buildModel(checkpoint.config);
    try {
      await loadWeights(model, checkpoint, options);
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
