/**
 * @file What a language model needs beside its layers, in the model's user-defined metadata: so configuration and
 * tokenizer go wherever the model goes, into copies, sparsified models and saved ones, and a `model.json` is whole by
 * itself. The tokenizer is kept as text: the words of a vocabulary may be keys that no JSON of a model should have.
 */
import type * as tf from '@tensorflow/tfjs';
import {Check} from 'typebox/schema';
import {ModelError} from '../../errors.js';
import {ARCHITECTURES, type LlamaConfig} from './llama-config.js';
import type {TokenizerSource} from '../tokenizer/source.js';
import {isObject} from '../../plain-object.js';

/** Key in the metadata. */
const METADATA_KEY = 'tfjs-sparsify-llama';
const VERSION = 1;

/** What makes a language model of a LayersModel. */
export interface LanguageModelMetadata {
  readonly config: LlamaConfig;
  readonly tokenizer: TokenizerSource | null;
}

/** How numbers are kept. bfloat16 halves memory and time, and rounds to 8 bits. */
export type Storage = 'float32' | 'bfloat16';

export const STORAGES: readonly Storage[] = ['float32', 'bfloat16'];

/** Puts configuration and tokenizer into a model's metadata, beside what else is there. */
export function attachMetadata(model: tf.LayersModel, {config, tokenizer}: LanguageModelMetadata): void {
  const ours = {version: VERSION, config, tokenizer: tokenizer === null ? null : JSON.stringify(tokenizer)};
  model.setUserDefinedMetadata({...model.getUserDefinedMetadata(), [METADATA_KEY]: ours});
}

/** Says in a language model's metadata how the decoder is to store its float32 weights where nothing else is asked for. */
export function attachDecoderWeights(model: tf.LayersModel, weights: Storage): void {
  const metadata = model.getUserDefinedMetadata();
  model.setUserDefinedMetadata({
    ...metadata,
    [METADATA_KEY]: {...checkedEntry(metadata), decoderWeights: weights},
  });
}

/** What `attachDecoderWeights` said; undefined if nothing was. @throws {ModelError} as `metadataOf`. */
export function decoderWeightsOf(model: tf.LayersModel): Storage | undefined {
  const {decoderWeights} = checkedEntry(model.getUserDefinedMetadata());
  if (decoderWeights === undefined || STORAGES.includes(decoderWeights as Storage))
    return decoderWeights as Storage | undefined;
  throw malformed(`"decoderWeights" is ${JSON.stringify(decoderWeights)}`);
}

/** Whether a model carries the metadata of a language model. */
export function isLanguageModel(model: tf.LayersModel): boolean {
  return entryIn(model.getUserDefinedMetadata()) !== undefined;
}

/**
 * Reads configuration and tokenizer of a model.
 *
 * @throws {ModelError} `not-a-language-model`, or `malformed-metadata`.
 */
export function metadataOf(model: tf.LayersModel): LanguageModelMetadata {
  return parseMetadata(model.getUserDefinedMetadata());
}

/**
 * Reads configuration and tokenizer out of the metadata that a model has, or will have once it is built.
 *
 * @throws {ModelError} as `metadataOf`.
 */
export function parseMetadata(metadata: unknown): LanguageModelMetadata {
  const {config, tokenizer} = checkedEntry(metadata);
  return {config: checkedConfig(config), tokenizer: parsedTokenizer(tokenizer)};
}

/**
 * Reads the configuration alone, as `parseMetadata`: a tokenizer is large.
 *
 * @throws {ModelError} as `metadataOf`.
 */
export function savedConfig(metadata: unknown): LlamaConfig {
  return checkedConfig(checkedEntry(metadata)['config']);
}

function checkedEntry(metadata: unknown): Record<string, unknown> {
  const entry = entryIn(metadata);
  if (entry === undefined) {
    throw new ModelError(
      'not-a-language-model',
      'the model has no configuration of a language model: load a checkpoint with loadLanguageModel, or a folder that ' +
        'save() or `tfjs-sparsify import` wrote',
    );
  }
  const {version} = entry as Record<string, unknown>;
  if (version !== VERSION) throw malformed(`version is ${String(version)}, this release reads ${VERSION}`);
  return entry as Record<string, unknown>;
}

function entryIn(metadata: unknown): object | undefined {
  const entry = ((metadata ?? {}) as Record<string, unknown>)[METADATA_KEY];
  return typeof entry === 'object' && entry !== null ? entry : undefined;
}

function parsedTokenizer(text: unknown): TokenizerSource | null {
  if (text === null) return null;
  if (typeof text !== 'string') throw malformed('the tokenizer is no text');
  try {
    const source = JSON.parse(text) as Partial<TokenizerSource> | null;
    if (isObject(source?.tokenizer) && isObject(source.config)) return source as TokenizerSource;
  } catch {
    // said below
  }
  throw malformed('the tokenizer is no JSON object with "tokenizer" and "config"');
}

const COUNT = {type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER} as const;
const TOKEN_ID = {...COUNT, minimum: 0} as const;
const NUMBER = {type: 'number'} as const;
const FLAG = {type: 'boolean'} as const;
const NULL = {type: 'null'} as const;

/** A `LlamaConfig` as JSON. */
const CONFIG_PROPERTIES = {
  architecture: {enum: ARCHITECTURES},
  vocabularySize: COUNT,
  hiddenSize: COUNT,
  intermediateSize: COUNT,
  layers: COUNT,
  heads: COUNT,
  keyHeads: COUNT,
  headSize: COUNT,
  contextLength: COUNT,
  normEpsilon: NUMBER,
  ropeTheta: NUMBER,
  embeddingScale: NUMBER,
  tiedEmbedding: FLAG,
  queryKeyNorm: FLAG,
  fusedProjections: FLAG,
  activation: {enum: ['silu', 'gelu', 'gelu_tanh']},
  slidingWindow: {anyOf: [COUNT, NULL]},
  ropeScaling: {type: 'object', required: ['kind'], properties: {kind: {type: 'string'}}},
  bias: {type: 'object'},
  experts: {
    anyOf: [
      NULL,
      {type: 'object', required: ['count', 'perToken'], properties: {count: COUNT, perToken: COUNT}},
    ],
  },
  bosTokenId: {anyOf: [TOKEN_ID, NULL]},
  eosTokenIds: {type: 'array', items: TOKEN_ID},
} as const satisfies Record<keyof LlamaConfig, object>;

/** The configuration, once every field has its type: a decoder trusts it. */
function checkedConfig(value: unknown): LlamaConfig {
  if (!isObject(value)) throw malformed('the configuration is missing');
  const need = (holds: boolean, field: string) => {
    if (!holds) throw malformed(`"${field}" of the configuration is ${JSON.stringify(value[field])}`);
  };
  for (const [field, schema] of Object.entries(CONFIG_PROPERTIES)) need(Check(schema, value[field]), field);
  const config = value as unknown as LlamaConfig;
  need(config.heads % config.keyHeads === 0, 'keyHeads');
  need(config.headSize % 2 === 0, 'headSize');
  return config;
}

function malformed(what: string): ModelError {
  return new ModelError(
    'malformed-metadata',
    `the model's metadata of a language model are malformed: ${what}; import the checkpoint again`,
  );
}
