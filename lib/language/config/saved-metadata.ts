/**
 * @file What a language model needs beside its layers, in the model's user-defined metadata: so configuration and
 * tokenizer go wherever the model goes, into copies, sparsified models and saved ones, and a `model.json` is whole by
 * itself. The tokenizer is kept as text: the words of a vocabulary may be keys that no JSON of a model should have.
 */
import type * as tf from '@tensorflow/tfjs';
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

/** Puts configuration and tokenizer into a model's metadata, beside what else is there. */
export function attachMetadata(model: tf.LayersModel, {config, tokenizer}: LanguageModelMetadata): void {
  const ours = {version: VERSION, config, tokenizer: tokenizer === null ? null : JSON.stringify(tokenizer)};
  model.setUserDefinedMetadata({...model.getUserDefinedMetadata(), [METADATA_KEY]: ours});
}

/** Whether a model carries the metadata of a language model. */
export function isLanguageModel(model: tf.LayersModel): boolean {
  return entryOf(model) !== undefined;
}

/**
 * Reads configuration and tokenizer of a model.
 *
 * @throws {ModelError} `not-a-language-model`, or `malformed-metadata`.
 */
export function metadataOf(model: tf.LayersModel): LanguageModelMetadata {
  const entry = entryOf(model);
  if (entry === undefined) {
    throw new ModelError(
      'not-a-language-model',
      'the model has no configuration of a language model: load a checkpoint with loadLanguageModel, or a folder that ' +
        'save() or `tfjs-sparsify import` wrote',
    );
  }
  const {version, config, tokenizer} = entry as Record<string, unknown>;
  if (version !== VERSION) throw malformed(`version is ${String(version)}, this release reads ${VERSION}`);
  return {config: checkedConfig(config), tokenizer: parsedTokenizer(tokenizer)};
}

function entryOf(model: tf.LayersModel): object | undefined {
  const metadata = (model.getUserDefinedMetadata() ?? {}) as Record<string, unknown>;
  const entry = metadata[METADATA_KEY];
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

const COUNTS = [
  ...([
    'vocabularySize',
    'hiddenSize',
    'intermediateSize',
    'layers',
    'heads',
    'keyHeads',
    'headSize',
  ] as const),
  'contextLength',
] as const satisfies readonly (keyof LlamaConfig)[];
const NUMBERS = [
  'normEpsilon',
  'ropeTheta',
  'embeddingScale',
] as const satisfies readonly (keyof LlamaConfig)[];
const FLAGS = [
  'tiedEmbedding',
  'queryKeyNorm',
  'fusedProjections',
] as const satisfies readonly (keyof LlamaConfig)[];

/** The configuration, once every field has its type: a decoder trusts it. */
function checkedConfig(value: unknown): LlamaConfig {
  if (!isObject(value)) throw malformed('the configuration is missing');
  const config = value as Partial<LlamaConfig>;
  const need = (holds: boolean, field: string) => {
    if (!holds) throw malformed(`"${field}" of the configuration is ${JSON.stringify(value[field])}`);
  };
  const isCount = (x: unknown) => Number.isSafeInteger(x) && (x as number) >= 1;
  for (const field of COUNTS) need(isCount(config[field]), field);
  for (const field of NUMBERS) need(Number.isFinite(config[field]), field);
  for (const field of FLAGS) need(typeof config[field] === 'boolean', field);
  need(
    ARCHITECTURES.some((name) => name === config.architecture),
    'architecture',
  );
  need(['silu', 'gelu', 'gelu_tanh'].includes(String(config.activation)), 'activation');
  need(config.slidingWindow === null || isCount(config.slidingWindow), 'slidingWindow');
  need(config.heads! % config.keyHeads! === 0, 'keyHeads');
  need(config.headSize! % 2 === 0, 'headSize');
  need(isObject(config.ropeScaling) && typeof config.ropeScaling.kind === 'string', 'ropeScaling');
  need(isObject(config.bias), 'bias');
  const {experts} = config;
  need(
    experts === null || (isObject(experts) && isCount(experts.count) && isCount(experts.perToken)),
    'experts',
  );
  need(config.bosTokenId === null || isTokenId(config.bosTokenId), 'bosTokenId');
  need(Array.isArray(config.eosTokenIds) && config.eosTokenIds.every(isTokenId), 'eosTokenIds');
  return value as unknown as LlamaConfig;
}

function isTokenId(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function malformed(what: string): ModelError {
  return new ModelError(
    'malformed-metadata',
    `the model's metadata of a language model are malformed: ${what}; import the checkpoint again`,
  );
}
