/** @file The part of the `tfjs-sparsify/llama` door that runs in browsers too: all but reading and writing files. */
export {
  ALLOCATION_SEQUENCES,
  LANGUAGE_CALIBRATION,
  allocateLanguageModel,
  decodingSpeed,
  perplexityLoss,
  type AllocateTextOptions,
} from './allocate.js';
export type {Checkpoint, CheckpointTensor} from './checkpoint.js';
export {ARCHITECTURES, type Architecture, type LlamaConfig} from './config.js';
export {createDecoder} from './create-decoder.js';
export type {AppendOptions, Decoder, MaskedCount} from './decoder.js';
export type {PrefillPolicy} from './decoder-session.js';
export {compareWithDense, type CompareOptions, type Comparison, type ModeResult} from './evaluate.js';
export type {GenerateOptions, GeneratedToken, Generation} from './generate.js';
export {buildModel} from './graph.js';
export {LanguageModel, type LanguageModelOptions, type SaveModel} from './language-model.js';
export {measureDecodeLatency, type DecodeContestant, type DecodeLatencyOptions} from './decode-latency.js';
export {registerLlamaLayers} from './layers/registry.js';
export {loadWeights, type LoadWeightsOptions} from './load-weights.js';
export type {NativeDecoderOptions, Storage} from './native-decoder.js';
export {parseConfig} from './parse-config.js';
export type {Perplexity, PerplexityOptions, PerplexityProtocol, TextWindow} from './perplexity.js';
export type {Prompt} from './prompt.js';
export {PROJECTIONS} from './projections.js';
export {createSampler, type Sampler, type SamplingOptions} from './sampler.js';
export {attachMetadata, isLanguageModel, metadataOf, type LanguageModelMetadata} from './saved-metadata.js';
export {groupOf, type GroupSparsity, type SparsityReport} from './sparsity-report.js';
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
} from './wikitext.js';
