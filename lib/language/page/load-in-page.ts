/** @file Loading a language model in a page: starts a worker, in which everything runs. */
import {BackendError} from '../../errors.js';
import {checkSource} from '../import/model-address.js';
import {CHECKED_LATER, checkOptions, count, type OptionRules} from '../../option-rules.js';
import type {OpenInPageOptions, PageModelSource} from './messages.js';
import {PageLanguageModel} from './page-language-model.js';
import {startWorker} from './start-worker.js';
import {WorkerCalls} from './worker-calls.js';

export interface LoadInPageOptions extends OpenInPageOptions {
  /** Threads that decode, at most; by default as many as the device has cores for. */
  readonly threads?: number;
  /**
   * For pages whose Content-Security-Policy allows no workers from blobs: the URL of a copy of the file
   * `tfjs-sparsify/language/worker`, or a worker that runs it, which is the model's from then on.
   */
  readonly worker?: Worker | string | URL;
}

/** The worker checks what it takes: a page has no need of all that is behind the rules of `openLanguageModel`. */
const RULES: OptionRules<LoadInPageOptions> = {
  weights: CHECKED_LATER,
  compress: CHECKED_LATER,
  compressIgnoredScope: CHECKED_LATER,
  compressOptions: CHECKED_LATER,
  sha256: CHECKED_LATER,
  memoryLimit: CHECKED_LATER,
  contextLength: CHECKED_LATER,
  decoder: CHECKED_LATER,
  refresh: CHECKED_LATER,
  silenceMs: CHECKED_LATER,
  onProgress: CHECKED_LATER,
  onNotice: CHECKED_LATER,
  signal: CHECKED_LATER,
  threads: count(),
  worker: CHECKED_LATER,
};

/**
 * Loads a language model in a page. Tokenizer, layers and decoder run in a worker.
 *
 * @param source A URL, relative to the page; files; or `opfs://name` or `indexeddb://name`, where `save` wrote to.
 * @returns The model; the caller disposes it, which ends the worker.
 * @throws {BackendError} `no-worker`, `worker-not-started`; {FileError} if files are missing or damaged; {ModelError}
 *   `not-a-language-model`; the signal's reason. No worker is left then.
 * @example
 * const lm = await loadLanguageModel('models/smollm2/');
 */
export async function loadLanguageModel(
  source: PageModelSource,
  options: LoadInPageOptions = {},
): Promise<PageLanguageModel> {
  checkOptions('loadLanguageModel', options, RULES);
  const {worker, ...rest} = options;
  checkSource(source);
  rest.signal?.throwIfAborted();
  const calls = new WorkerCalls(await startWorker(worker));
  try {
    const loaded = await calls.call('load', absolute(source), rest);
    return new PageLanguageModel(calls, loaded);
  } catch (error) {
    calls.close(new BackendError('worker-lost', 'the model was not loaded'));
    throw error;
  }
}

/** Names of what the browser keeps are no URLs: a browser would make others of them. */
const KEPT = /^(opfs|indexeddb):/;

/** Relative URLs mean the page: a worker that was started from a blob has no address. */
function absolute(source: PageModelSource): PageModelSource {
  if (source instanceof URL) return source.href;
  if (typeof source !== 'string' || KEPT.test(source)) return source;
  return new URL(source, globalThis.document?.baseURI ?? globalThis.location?.href).href;
}
