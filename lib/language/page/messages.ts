/**
 * @file What a page and the worker that holds its language model say to each other: typed, with the version of the
 * protocol in every message, and checked where it arrives. A call has a number; abort, events and answer name it.
 */
import {Check} from 'typebox/schema';
import type {Allocation} from '../../metadata/allocation.js';
import type {CompressOptions} from '../../compress.js';
import type {DenseReport} from '../../model/inspect.js';
import type {WeightReport} from '../../model/compressible.js';
import type {SparsifyScopes} from '../../sparsify.js';
import type {TargetSparsityByScope} from '../../scope/parse-targets.js';
import type {WarningOptions} from '../../warnings.js';
import type {AllocateTextOptions} from '../allocate-language-model.js';
import type {LlamaConfig} from '../config/llama-config.js';
import type {GenerateOptions, Generation} from '../decoding/generate.js';
import type {BytesPerToken} from '../evaluation/bytes-per-token.js';
import type {Perplexity, PerplexityOptions} from '../evaluation/perplexity.js';
import type {SparsityReport} from '../evaluation/sparsity-report.js';
import type {LanguageModelSource} from '../import/opened-source.js';
import type {OpenLanguageModelOptions} from '../open-language-model.js';
import type {Prompt} from '../prompt.js';
import type {SparsifyTextOptions} from '../sparsify-language-model.js';
import type {ChatMessage} from '../tokenizer/chat.js';
import type {DecodeOptions, EncodeOptions} from '../tokenizer/tokenizer.js';
import type {SentError} from './sent-error.js';

/** Says what is ours among messages, and whether page and worker are of one release. */
const PROTOCOL = 'tfjs-sparsify/1';
const ANY_PROTOCOL = /^tfjs-sparsify\//;

/** Text to calibrate on: as `LanguageModel.dataset` takes it. */
export type CalibrationText = string | readonly string[] | readonly number[];

/** `allocateLanguageModel`'s options but for functions of the caller's own, which no worker can call. */
export type AllocateInPageOptions = Omit<AllocateTextOptions, 'loss' | 'speed' | 'probeData'>;

/** What computes in the worker. */
export interface PageBackend {
  /** Backend of TensorFlow.js: `wasm`, or `cpu` where WebAssembly has no SIMD. */
  readonly name: string;
  /** Threads that decode. */
  readonly threads: number;
  /** Why so many, in one line: what to do for more, where something can be done. */
  readonly why: string;
}

/** Memory of the worker, bytes. */
export interface PageMemory {
  /** What all tensors take. */
  readonly tensorBytes: number;
  readonly tensors: number;
  /** Of the decoder: weights, caches, and what lies between layers. Its tensors are among `tensorBytes` too. */
  readonly decoderBytes: number;
  /** Of the backend's WebAssembly, which never gives back what it has taken; 0 on backend `cpu`. */
  readonly backendBytes: number;
}

/** What a page knows of a model once it is loaded. */
export interface LoadedModel {
  readonly config: LlamaConfig;
  /** Whether prompts may be text. */
  readonly hasTokenizer: boolean;
  readonly backend: PageBackend;
}

/** Where a model is loaded from: as for `openLanguageModel`; or `opfs://name` or `indexeddb://name`, where `save` put one. */
export type PageModelSource = LanguageModelSource;

/** `openLanguageModel`'s options but for a store of one's own, which no worker can call. */
export type OpenInPageOptions = Omit<OpenLanguageModelOptions, 'store'>;

/** How a worker starts. */
export interface WorkerStart extends OpenInPageOptions {
  /** Threads that decode, at most; by default as many as the device has cores for. */
  readonly threads?: number;
}

/** Options of what can only be stopped. */
export interface AbortOptions {
  /** Stops the work: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** What the page asks for: by name, with the arguments, of which the last may be options, and what comes back. */
interface Calls {
  load(source: PageModelSource, options: WorkerStart): LoadedModel;
  generate(prompt: Prompt, options: GenerateOptions): Generation;
  score(ids: readonly number[]): Float32Array;
  perplexity(text: string, options: PerplexityOptions): Perplexity;
  encode(text: string, options: EncodeOptions): number[];
  decode(ids: readonly number[], options: DecodeOptions): string;
  encodePrompt(prompt: string | readonly ChatMessage[] | readonly number[]): readonly number[];
  sparsify(text: CalibrationText, options: SparsifyTextOptions): DenseReport[];
  allocate(text: CalibrationText, options: AllocateInPageOptions): Allocation;
  retarget(
    scopes: SparsifyScopes | TargetSparsityByScope | Allocation,
    options: WarningOptions,
  ): DenseReport[];
  compress(options: Omit<CompressOptions, 'inPlace'>): WeightReport[];
  inspect(): DenseReport[];
  inspectWeights(): WeightReport[];
  bytesPerToken(): BytesPerToken;
  sparsity(): SparsityReport | null;
  memory(): PageMemory;
  save(target: string, options: AbortOptions): null;
  files(options: AbortOptions): File[];
}

export type Method = keyof Calls;

export type Arguments<M extends Method> = Parameters<Calls[M]>;
export type Answer<M extends Method> = ReturnType<Calls[M]>;

const METHODS: Readonly<Record<Method, true>> = {
  ...{
    load: true,
    generate: true,
    score: true,
    perplexity: true,
    encode: true,
    decode: true,
    encodePrompt: true,
  },
  ...{sparsify: true, allocate: true, retarget: true, compress: true, inspect: true, inspectWeights: true},
  ...{bytesPerToken: true, sparsity: true, memory: true, save: true, files: true},
};

export type ToWorker =
  /** Whether it listens. */
  | {readonly kind: 'hello'}
  | {
      readonly kind: 'call';
      readonly id: number;
      readonly method: Method;
      /** But for functions and signals. */
      readonly args: readonly unknown[];
      /** Names of the functions among the last argument's fields: calls of these are sent back as events. */
      readonly events: readonly string[];
    }
  | {readonly kind: 'abort'; readonly id: number};

export type FromWorker =
  /** The answer to `hello`. `lock` is held as long as it lives, so that its end is noticed; null where there are no locks. */
  | {readonly kind: 'started'; readonly lock: string | null}
  | {readonly kind: 'event'; readonly id: number; readonly name: string; readonly value: unknown}
  | {readonly kind: 'answer'; readonly id: number; readonly value: unknown}
  | {readonly kind: 'failed'; readonly id: number; readonly error: SentError};

const ID = {type: 'integer', minimum: 1} as const;
const NAME = {type: 'string'} as const;

const SENT_ERROR = {
  type: 'object',
  required: ['name', 'message', 'code', 'data'],
  properties: {name: NAME, message: NAME, code: {anyOf: [NAME, {type: 'null'}]}, data: {type: 'object'}},
} as const;

const TO_WORKER = {
  anyOf: [
    message('hello', {}),
    message('call', {
      id: ID,
      method: {enum: Object.keys(METHODS)},
      args: {type: 'array'},
      events: {type: 'array', items: NAME},
    }),
    message('abort', {id: ID}),
  ],
} as const;

const FROM_WORKER = {
  anyOf: [
    message('started', {lock: {anyOf: [NAME, {type: 'null'}]}}),
    message('event', {id: ID, name: NAME}),
    message('answer', {id: ID}),
    message('failed', {id: ID, error: SENT_ERROR}),
  ],
} as const;

function message(kind: string, properties: Readonly<Record<string, object>>) {
  return {
    type: 'object',
    required: ['protocol', 'kind', ...Object.keys(properties)],
    properties: {protocol: {const: PROTOCOL}, kind: {const: kind}, ...properties},
  };
}

/** A message with the version that it is of. */
export function stamped<Message extends ToWorker | FromWorker>(message: Message): Message {
  return {...message, protocol: PROTOCOL};
}

/** What a message turned out to be: one of ours, somebody else's, or ours of another release. */
export type Received<Message> = Message | 'foreign' | 'mismatch';

export function readToWorker(data: unknown): Received<ToWorker> {
  return read<ToWorker>(data, TO_WORKER);
}

export function readFromWorker(data: unknown): Received<FromWorker> {
  return read<FromWorker>(data, FROM_WORKER);
}

function read<Message>(data: unknown, schema: typeof TO_WORKER | typeof FROM_WORKER): Received<Message> {
  const {protocol} = (data ?? {}) as {protocol?: unknown};
  if (typeof protocol !== 'string' || !ANY_PROTOCOL.test(protocol)) return 'foreign';
  return Check(schema, data) ? (data as Message) : 'mismatch';
}
