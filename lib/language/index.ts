/** @file The `tfjs-sparsify/language` door: Llama-family language models. */
export * from './browser.js';
export {
  allocateLanguageModelFormats,
  compareLanguageModelFormats,
  languageModelInFormat,
  type AllocateTextFormatsOptions,
  type CompareTextFormatsOptions,
} from './allocate-formats.js';
export {
  isCheckpoint,
  languageModelOf,
  loadLanguageModel,
  type LoadLanguageModelOptions,
} from './load-language-model.js';
export {MODEL_NAMES, fetchModel} from './import/fetch.js';
export type {FetchOptions, FetchProgress} from './import/fetch-options.js';
export {openCheckpoint} from './import/open-checkpoint.js';
export {READ_FORMATS, type ReadFormat} from './weights/packed-weights.js';
export {sparsifyStreamed, type SparsifyStreamedOptions} from './sparsify-streamed.js';
