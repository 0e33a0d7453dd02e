/** @file The `MODEL` argument and `--backend`: the fastest backend that loads, and the model on it. */
import type * as tf from '@tensorflow/tfjs';
import {
  isCheckpoint,
  languageModelOf,
  loadLanguageModel,
  registerLlamaLayers,
  type LanguageModel,
  type LoadLanguageModelOptions,
} from '../language/index.js';
import {loadLayersModel} from '../io/model/model-files.js';
import {startBackend} from './backend.js';
import type {BackendOptions} from './backend-option.js';
import {withProgress} from './progress.js';

/** For the help of a command that takes a model. */
export const MODEL_ARGUMENT =
  'a model.json of a tf.LayersModel, the folder that holds it, or an http(s) URL; for a language model also a GGUF file ' +
  'or a Hugging Face folder';

/** For the help of a command that takes a language model. */
export const LANGUAGE_MODEL_ARGUMENT =
  'a language model: a GGUF file, a Hugging Face folder, or a folder that import or sparsify wrote';

export {backendOption, type BackendOptions} from './backend-option.js';

/** `weights`: what a checkpoint's weights become. */
type OpenOptions = BackendOptions & Pick<LoadLanguageModelOptions, 'signal' | 'weights'>;

/** Loads a backend, once for the process, and the model. */
export async function openModel(
  model: string,
  {backend, signal, weights}: OpenOptions,
): Promise<tf.LayersModel> {
  await startBackend(backend);
  if (await isCheckpoint(model)) return (await importModel(model, signal, weights)).model;
  registerLlamaLayers();
  return loadLayersModel(model);
}

/**
 * Loads a backend, once for the process, and a language model.
 *
 * @throws {ModelError} `not-a-language-model`.
 */
export async function openLanguageModel(model: string, options: OpenOptions): Promise<LanguageModel> {
  return languageModelOf(await openModel(model, options));
}

/** Reads a checkpoint with its progress, in millions of weights. */
function importModel(
  path: string,
  signal: AbortSignal | undefined,
  weights: OpenOptions['weights'],
): Promise<LanguageModel> {
  const millions = (weights: number) => Math.ceil(weights / 1e6);
  return withProgress(`reading ${path}`, 'million weights', (onProgress) =>
    loadLanguageModel(path, {
      signal,
      weights,
      onProgress: ({done, total}) => onProgress({done: millions(done), total: millions(total)}),
    }),
  );
}
