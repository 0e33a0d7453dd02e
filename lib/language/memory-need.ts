/** @file How much memory a language model takes, before it is loaded, and how much a device gives a page. */
import {ModelError} from '../errors.js';
import type {Compression, Int4Config} from '../layers/compressed-weight.js';
import {halfWordsOf, wordsOf} from '../quantization/int4.js';
import {count, checkOptions, FLAG, optional, type OptionRules} from '../option-rules.js';
import {sizeOf} from '../tensor-values.js';
import type {LlamaConfig} from './config/llama-config.js';
import {weightPlan} from './weights/weight-plan.js';

/** Bytes. */
export interface MemoryNeed {
  readonly weightBytes: number;
  /** Keys and values of a whole context. */
  readonly cacheBytes: number;
  /** The largest weight while it is loaded, or what a prompt takes, whichever is more; and stored files, if memory stores them. */
  readonly workingBytes: number;
  readonly totalBytes: number;
}

export interface MemoryNeedOptions {
  /** Whether weights are made INT8 while they are loaded. False by default. */
  readonly compress?: boolean;
  /** Without `compress`: of the weights that are read packed, by the name of the tensor, as of `keptFormats(checkpoint)`. */
  readonly formats?: ReadonlyMap<string, Compression>;
  /** Tokens that the cache is counted for: 2,048 by default, or what the model has if that is less. */
  readonly contextLength?: number;
}

const RULES: OptionRules<MemoryNeedOptions> = {
  compress: FLAG,
  formats: optional('a Map', (value) => value instanceof Map),
  contextLength: count(),
};

/** Of wasm32, which has 32 bits for an address. */
const WASM_BYTES = 4 * 1024 ** 3;
/** A tab is ended there beyond 1 to 1.5 GB. */
const IOS_BYTES = 1024 ** 3;
const DEFAULT_CONTEXT = 2048;
/** Tokens of a prompt that are computed at a time. */
const PROMPT_TOKENS = 512;
/** Of a file, while it is read. */
const READ_BYTES = 16 * 1024 ** 2;

/**
 * What a model takes.
 *
 * @param config As a checkpoint's or a language model's `config`.
 * @example
 * const {totalBytes} = memoryNeed(checkpoint.config, {compress: true});
 */
export function memoryNeed(config: LlamaConfig, options: MemoryNeedOptions = {}): MemoryNeed {
  checkOptions('memoryNeed', options, RULES);
  const {compress = false, formats, contextLength} = options;
  const plan = weightPlan(config);
  const bytes = plan.map(({tensor, shape}) => {
    const format: Compression | undefined = compress ? {int8: 'asym'} : formats?.get(tensor);
    if (format === undefined) return 4 * sizeOf(shape);
    return 'int8' in format ? int8Bytes(shape) : int4Bytes(shape, format.int4);
  });
  const isInt4 = (tensor: string) => !compress && 'int4' in (formats?.get(tensor) ?? {});
  return needOf(
    config,
    bytes.reduce((sum, each) => sum + each, 0),
    // A weight comes as float32 or in the file's 4 bits, and is laid out anew or made INT8.
    Math.max(...plan.map(({tensor, shape}, i) => bytes[i] + (isInt4(tensor) ? bytes[i] : 4 * sizeOf(shape)))),
    contextLength,
  );
}

/**
 * What a model takes whose weights' sizes are known.
 *
 * @param loadingBytes What loading a weight takes at most.
 */
export function needOf(
  {layers, keyHeads, headSize, contextLength, hiddenSize, intermediateSize, vocabularySize}: LlamaConfig,
  weightBytes: number,
  loadingBytes: number,
  tokens = Math.min(DEFAULT_CONTEXT, contextLength),
): MemoryNeed {
  const cacheBytes = 2 * layers * keyHeads * headSize * 4 * Math.min(tokens, contextLength);
  const promptBytes =
    4 * (Math.min(PROMPT_TOKENS, tokens) * (4 * hiddenSize + 3 * intermediateSize) + vocabularySize);
  const workingBytes = Math.max(loadingBytes + READ_BYTES, promptBytes);
  return {weightBytes, cacheBytes, workingBytes, totalBytes: weightBytes + cacheBytes + workingBytes};
}

/** Of a weight of a checkpoint that is made INT8; vectors stay float32. */
export function int8Bytes(shape: readonly number[]): number {
  if (shape.length < 2) return 4 * sizeOf(shape);
  const [units, inputs] = shape;
  return inputs * Math.ceil(units / 4) * 4 + 8 * units;
}

/** Of a matrix of a checkpoint in 4 bits. */
function int4Bytes([units, inputs]: readonly number[], {kind, groupSize}: Int4Config): number {
  const offset = {asym: wordsOf(units), sym: 0, minimum: halfWordsOf(units)}[kind];
  return 4 * (inputs * wordsOf(units) + (inputs / groupSize) * (halfWordsOf(units) + offset));
}

/** What this device gives a page, as far as it says: bytes. */
export function deviceMemory(): number {
  const {userAgent = '', deviceMemory: gigabytes} = (globalThis.navigator ?? {}) as {
    readonly userAgent?: string;
    /** Of the whole device, rounded and cut off at 8 or 32; Chrome says it. */
    readonly deviceMemory?: number;
  };
  if (/iPhone|iPad|iPod/.test(userAgent)) return IOS_BYTES;
  return Math.min(
    WASM_BYTES,
    gigabytes === undefined || gigabytes >= 8 ? WASM_BYTES : (gigabytes * 1024 ** 3) / 2,
  );
}

/** A form of a model that takes less memory. */
export interface SmallerForm {
  /** `as INT8`. */
  readonly label: string;
  /** With which it is loaded so. */
  readonly option: string;
  readonly need: MemoryNeed;
}

/**
 * Refuses a model that does not fit.
 *
 * @param name Of the model, for the error.
 * @param smaller Forms in which it takes less, the best first.
 * @throws {ModelError} `too-large-for-device`, which says what would fit.
 */
export function checkFits(
  name: string,
  need: MemoryNeed,
  limit: number,
  smaller: readonly SmallerForm[],
): void {
  if (need.totalBytes <= limit) return;
  const fitting = smaller.find((form) => form.need.totalBytes <= limit);
  const least = [...smaller].sort((a, b) => a.need.totalBytes - b.need.totalBytes).at(0);
  const remedy =
    fitting !== undefined
      ? `${fitting.label} it takes ${megabytes(fitting.need.totalBytes)}: load it with ${fitting.option}`
      : least !== undefined
        ? `${least.label} it would still take ${megabytes(least.need.totalBytes)}: take a smaller model`
        : 'take a smaller model';
  throw new ModelError(
    'too-large-for-device',
    `${name} takes ${megabytes(need.totalBytes)} of memory (weights ${megabytes(need.weightBytes)}, cache ` +
      `${megabytes(need.cacheBytes)}, working memory ${megabytes(need.workingBytes)}), more than the ${megabytes(limit)} that this ` +
      `device may give: ${remedy}`,
    {need, limit, smaller},
  );
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1e6)} MB`;
}
