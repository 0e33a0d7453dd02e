/** @file What front and worker process say to each other: JSON, but for tensors (frames.ts). */
import type {ChatMessage} from '../language/tokenizer/chat.js';
import type {Generation} from '../language/decoding/generate.js';
import type {SentError} from './http-errors.js';
import type {Signature, WireTensor} from './tensors.js';

/** The stream between them, among a worker's files. */
export const CHANNEL_FD = 3;

/** What a worker knows from its start. */
export interface WorkerSettings {
  /** Backend by name; null for the fastest that loads. */
  readonly backend: string | null;
  /** Bytes that keys and values of all sequences of a language model may take together. */
  readonly cacheBytes: number;
  /** Sequences of one language model that are kept for their prefixes. */
  readonly maxSequences: number;
}

/** What is known of a model once it is loaded and warm. */
export interface LoadedInfo {
  readonly signature: Signature;
  readonly isLanguageModel: boolean;
  /** Whether there is a tokenizer, so that prompts may be text. */
  readonly hasTokenizer: boolean;
  /** Whether rows of several requests may be computed together with the same result; tried while warming up. */
  readonly canBatch: boolean;
  /** Its sparsified layers in the order of the graph, and the share that each is to mask, in [0, 1]. */
  readonly sparsified: readonly {readonly path: string; readonly target: number | null}[];
}

/** A generation that was asked for. */
export interface GenerationRequest {
  readonly prompt: string | readonly ChatMessage[] | readonly number[];
  readonly maxTokens?: number;
  readonly temperature: number;
  readonly topP: number;
  readonly topK?: number;
  readonly minP?: number;
  readonly seed?: number;
  readonly stop: readonly string[];
  /** Compute every token with thresholds off, as the dense model would. */
  readonly dense?: boolean;
}

/** Shares of masked inputs, in [0, 1]. */
export interface ActualSparsity {
  readonly mean: number;
  readonly layers: readonly {
    readonly path: string;
    readonly target: number | null;
    readonly actual: number;
  }[];
}

/** By kind: what is asked for, and what answers it. */
export interface Calls {
  readonly load: {readonly ask: {readonly key: string; readonly path: string}; readonly answer: LoadedInfo};
  readonly unload: {readonly ask: {readonly key: string}; readonly answer: null};
  readonly predict: {
    readonly ask: {readonly key: string; readonly tensors: readonly WireTensor[]};
    readonly answer: readonly WireTensor[];
  };
  readonly generate: {
    readonly ask: {readonly key: string; readonly request: GenerationRequest};
    readonly answer: Generation;
  };
  readonly ping: {readonly ask: object; readonly answer: WorkerHealth};
}

export type CallKind = keyof Calls;

/** What a worker says of itself when it answers a ping. */
export interface WorkerHealth {
  readonly residentBytes: number;
  readonly tensors: number;
  /** Bytes of keys and values, by an estimate from the model's configuration. */
  readonly cacheBytes: number;
}

export type ToWorker =
  | {[K in CallKind]: {readonly kind: K; readonly id: number} & Calls[K]['ask']}[CallKind]
  | {readonly kind: 'cancel'; readonly id: number};

export type FromWorker =
  | {readonly kind: 'started'}
  | {readonly kind: 'answer'; readonly id: number; readonly value: unknown}
  | {readonly kind: 'tensors'; readonly id: number; readonly tensors: readonly WireTensor[]}
  | {readonly kind: 'error'; readonly id: number; readonly error: SentError}
  | {readonly kind: 'text'; readonly id: number; readonly text: string}
  | {readonly kind: 'sparsity'; readonly key: string; readonly sparsity: ActualSparsity};
