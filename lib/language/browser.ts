/** @file The part of the `tfjs-sparsify/language` door that runs in browsers too: all but reading and writing the disk. */
export {
  ALLOCATION_SEQUENCES,
  LANGUAGE_CALIBRATION,
  allocateLanguageModel,
  decodingSpeed,
  perplexityLoss,
  type AllocateTextOptions,
} from './allocate-language-model.js';
export type {Checkpoint, CheckpointTensor} from './weights/checkpoint.js';
export {ARCHITECTURES, type Architecture, type LlamaConfig} from './config/llama-config.js';
export {createDecoder} from './decoding/create-decoder.js';
export type {AppendOptions, Decoder, MaskedCount} from './decoding/decoder.js';
export type {PrefillPolicy} from './decoding/decoder-session.js';
export {
  compareWithDense,
  type CompareOptions,
  type Comparison,
  type ModeResult,
} from './compare-with-dense.js';
export type {GenerateOptions, GeneratedToken, Generation} from './decoding/generate.js';
export {buildModel} from './graph/build-model.js';
export {LanguageModel, type LanguageModelOptions, type SaveModel} from './language-model.js';
export {openLanguageModel, type OpenLanguageModelOptions, type OpenProgress} from './open-language-model.js';
export type {LanguageModelSource} from './import/opened-source.js';
export {deviceMemory, memoryNeed, type MemoryNeed, type MemoryNeedOptions} from './memory-need.js';
export {deleteCachedModel, listCachedModels, type CachedModel} from '../io/web/cached-models.js';
export {deviceStore} from '../io/web/device-store.js';
export type {DownloadProgress} from '../io/web/model-download.js';
export {MemoryStore, type PieceStore} from '../io/web/piece-store.js';
export {measureDecodeLatency, type DecodeContestant, type DecodeLatencyOptions} from './decode-latency.js';
export {registerLlamaLayers} from './graph/layers/register-llama-layers.js';
export {loadWeights, type LoadWeightsOptions} from './weights/load-weights.js';
export type {ReadFormat} from './weights/packed-weights.js';
export type {NativeDecoderOptions} from './decoding/native-decoder.js';
export {parseConfig} from './config/parse-config.js';
export {loadLanguageModel, type LoadInPageOptions} from './page/load-in-page.js';
export type {
  AbortOptions,
  AllocateInPageOptions,
  CalibrationText,
  OpenInPageOptions,
  PageBackend,
  PageMemory,
  PageModelSource,
} from './page/messages.js';
export type {PageLanguageModel} from './page/page-language-model.js';
export type {BytesPerToken} from './evaluation/bytes-per-token.js';
export type {Perplexity, PerplexityOptions, PerplexityProtocol, TextWindow} from './evaluation/perplexity.js';
export type {Prompt} from './prompt.js';
export {PROJECTIONS} from './projections.js';
export {createSampler, type Sampler, type SamplingOptions} from './decoding/sampler.js';
export {
  attachMetadata,
  isLanguageModel,
  metadataOf,
  type LanguageModelMetadata,
  type Storage,
} from './config/saved-metadata.js';
export {groupOf, type GroupSparsity, type SparsityReport} from './evaluation/sparsity-report.js';
export {sparsifyLanguageModel, type SparsifyTextOptions} from './sparsify-language-model.js';
export {textDataset, type TextDatasetOptions} from './text-dataset.js';
export {applyChatTemplate, type ChatMessage, type ChatOptions} from './tokenizer/chat.js';
export {
  createTokenizer,
  type DecodeOptions,
  type EncodeOptions,
  type LlamaTokenizer,
} from './tokenizer/tokenizer.js';
export type {TokenizerSource} from './tokenizer/source.js';
export {
  countWords,
  detokenize,
  documentsOf,
  isWikiText,
  splitArticles,
  type TextDocument,
} from './evaluation/wikitext.js';
