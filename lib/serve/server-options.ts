/** @file What a server is made with, and what it takes where nothing is said. */
import {isIPv6} from 'node:net';
import {SparsifyError} from '../errors.js';
import {checkOptions} from '../option-rules.js';
import {hostName, originOf} from './hosts.js';
import {SERVER_RULES} from './server-option-rules.js';

/** A model to serve. */
export interface ServedModel {
  /** Letters, digits, `.`, `_`, `-`; starts with a letter or digit. */
  readonly name: string;
  /**
   * As `loadLayersModel` and `loadLanguageModel` take it; or a folder of versions `1/`, `2/`, …, which is watched.
   */
  readonly path: string;
  /** Which of the versions are served: the latest, or all. Default `latest`. */
  readonly versions?: 'latest' | 'all';
  /** Names for versions, as `{stable: 1}`. */
  readonly labels?: Readonly<Record<string, number>>;
}

/** How requests are joined, bounded and given up. */
export interface QueueOptions {
  /** Rows of a batch; 32 by default, 1 joins nothing. */
  readonly maxBatch?: number;
  /**
   * How long a request waits for others to join it. 0 by default: only those are joined that wait anyway, because
   * the workers are busy.
   */
  readonly maxDelayMs?: number;
  /** Requests that wait for one model; more are answered 429. Default 256. */
  readonly maxQueue?: number;
  /** After it a request is answered 504. Default 60,000. */
  readonly timeoutMs?: number;
}

/** The processes that compute. */
export interface WorkerOptions {
  /** How many; each loads every model. Default 1. */
  readonly workers?: number;
  /** `node-gpu`, `node`, `wasm` or `cpu`; by default `SPARSIFY_BACKEND`, else the fastest that loads. */
  readonly backend?: string;
  /** A worker that does not react for so long is replaced; longer than the longest batch. Default 60,000. */
  readonly hangMs?: number;
  /** Generations that a worker computes at a time, in turns. Default 8. */
  readonly maxSequences?: number;
  /** Bytes of keys and values that a language model's sequences may take together in a worker. Default 1 GiB. */
  readonly cacheBytes?: number;
}

/** The HTTP side. */
export interface HttpOptions {
  /** Keys of which a request must bring one; by default none is asked for, and only this machine may ask. */
  readonly apiKeys?: readonly string[];
  /** That other machines may ask although there is no key. Default false: the server listens at loopback addresses alone. */
  readonly noKey?: boolean;
  /**
   * Names beside its address and `localhost` that clients of a server without keys may know it by, as behind a proxy; `*`
   * for any. Default none.
   */
  readonly allowedHosts?: readonly string[];
  /** Largest body in bytes; 32 MiB by default. */
  readonly bodyLimit?: number;
  /** Headers that take longer end the connection with 408. Default 10,000. */
  readonly headersTimeoutMs?: number;
  /** Origins whose pages may use the server, or `*`; by default none. */
  readonly cors?: readonly string[];
  /** Certificate and key, PEM. */
  readonly tls?: {readonly cert: Buffer | string; readonly key: Buffer | string};
  /** Level of the JSON log on stdout, or false; `false` by default. Requests are logged without their bodies. */
  readonly log?: 'debug' | 'info' | 'warn' | 'error' | false;
}

export interface ServerOptions {
  readonly models: readonly ServedModel[];
  readonly queue?: QueueOptions;
  readonly pool?: WorkerOptions;
  readonly http?: HttpOptions;
  /** How often folders are looked through for new versions. Default 1000. */
  readonly pollMs?: number;
}

export const DEFAULT_QUEUE: Required<QueueOptions> = {
  maxBatch: 32,
  maxDelayMs: 0,
  maxQueue: 256,
  timeoutMs: 60_000,
};

export const DEFAULT_POOL: Required<Omit<WorkerOptions, 'backend'>> = {
  workers: 1,
  hangMs: 60_000,
  maxSequences: 8,
  cacheBytes: 1024 ** 3,
};

export const DEFAULT_BODY_LIMIT = 32 * 1024 ** 2;
export const DEFAULT_HEADERS_TIMEOUT_MS = 10_000;
export const DEFAULT_POLL_MS = 1000;

/** Names are parts of URLs and labels of metrics. */
const NAME = /^[a-z0-9][a-z0-9._-]{0,127}$/i;

/**
 * Checks what would only show at the first request.
 *
 * @throws {SparsifyError} `unknown-option`, `missing-option`, `bad-option`.
 */
export function checkServerOptions(options: ServerOptions): void {
  checkOptions('createServer', options, SERVER_RULES);
  const {models, queue = {}, pool = {}, http = {}} = options;
  if (models.length === 0) throw badOption('models', 'empty', 'one model or more');
  const names = models.map(({name}) => name);
  for (const [i, name] of names.entries()) {
    if (!NAME.test(name)) {
      throw badOption('the name of a model', JSON.stringify(name), 'letters, digits, ".", "_" and "-"');
    }
    if (names.indexOf(name) !== i) throw badOption('the name of two models', name, 'different for each');
  }
  const {bodyLimit, headersTimeoutMs} = http;
  const counts = {...queue, ...pool, bodyLimit, headersTimeoutMs} as Record<
    string,
    number | string | undefined
  >;
  for (const [option, value] of Object.entries(counts)) {
    if (option === 'backend' || value === undefined) continue;
    const least = option === 'maxDelayMs' ? 0 : 1;
    if (typeof value !== 'number' || !(value >= least)) {
      throw badOption(option, String(value), `a number of ${least} or more`);
    }
  }
  if (http.apiKeys?.some((key) => key === '')) {
    throw badOption('an API key', 'empty', 'text, or leave it out');
  }
  if (http.noKey === true && (http.apiKeys?.length ?? 0) > 0) {
    throw badOption('noKey', 'true beside API keys', 'left out, or the keys (SPARSIFY_API_KEYS too) must be');
  }
  for (const host of http.allowedHosts ?? []) {
    const isName = host === '*' || (hostName(host) !== null && (isIPv6(host) || !/:\d*$/.test(host)));
    if (!isName)
      throw badOption('an allowed host', JSON.stringify(host), 'a name or an address without port');
  }
  for (const origin of http.cors ?? []) {
    if (origin === '*' || originOf(origin) !== undefined) continue;
    throw badOption('an origin', JSON.stringify(origin), 'as in https://page.example, or *');
  }
}

function badOption(option: string, got: string, allowed: string): SparsifyError {
  return new SparsifyError('bad-option', `${option} is ${got}; it must be ${allowed}`, {option, got});
}
