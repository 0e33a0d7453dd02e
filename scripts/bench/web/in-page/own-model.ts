/** @file Our side in a page: a language model as every page loads it, in a worker. */
import {PROJECTIONS, loadLanguageModel, type PageLanguageModel} from '../../../../lib/language/browser.js';
import type {BenchPrompt} from '../sides.js';

/** What a prompt and the tokens after it took. */
export interface Decoded {
  /** Tokens of it. */
  readonly promptTokens: number;
  /** To the first token. */
  readonly promptMs: number;
  /** After the first. */
  readonly tokensPerSecond: number;
  readonly tokens: number;
}

let model: PageLanguageModel | undefined;

/**
 * Loads the model.
 *
 * @returns Threads, and why so many.
 */
export async function load(url: string, threads: number): Promise<{threads: number; why: string}> {
  model = await loadLanguageModel(url, {threads});
  const {threads: inUse, why} = model.backend;
  return {threads: inUse, why};
}

/** Target sparsity of all projections. */
export async function setSparsity(sparsity: number): Promise<void> {
  await model!.retarget({[PROJECTIONS.all]: sparsity});
}

/** Decodes greedily, by the worker's clock. An end token may end it early. */
export async function decode({ids}: BenchPrompt, tokens: number): Promise<Decoded> {
  const generation = await model!.generate(ids, {maxTokens: tokens});
  return {
    promptTokens: generation.promptTokens,
    promptMs: generation.timeToFirstTokenMs,
    tokensPerSecond: generation.tokensPerSecond,
    tokens: generation.tokens.length,
  };
}

/** From the call of a page that has loaded its modules to the first token, ms. */
export async function firstToken(url: string, {ids}: BenchPrompt, threads: number): Promise<number> {
  const start = performance.now();
  model = await loadLanguageModel(url, {threads});
  let first = NaN;
  await model.generate(ids, {maxTokens: 1, onToken: () => (first = performance.now() - start)});
  return first;
}
