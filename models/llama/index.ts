/** @file The `tfjs-sparsify/llama` door: Llama-family language models. */
export * from './browser.js';
export {
  isCheckpoint,
  languageModelOf,
  loadLanguageModel,
  type LoadLanguageModelOptions,
} from './load-language-model.js';
export {openCheckpoint} from './import/open-checkpoint.js';
