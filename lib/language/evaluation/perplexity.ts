/**
 * @file Perplexity of a text: what the windows are, their log likelihoods, and both ways of counting. Word perplexity
 * divides by the words of the text as written, token perplexity by tokens, so only the first compares models with
 * different vocabularies.
 */
import {nextTurn} from '../../event-loop.js';
import {DatasetError} from '../../errors.js';
import {CALLBACK, CHECKED_LATER, FLAG, SIGNAL, oneOf, type OptionRules} from '../../option-rules.js';
import type {Progress} from '../../calibration/model-batches.js';
import type {Decoder} from '../decoding/decoder.js';
import type {SparsityReport} from './sparsity-report.js';
import type {TextDocument} from './wikitext.js';
import {rollingWindows, tokenChunks, type Window} from './windows.js';

/**
 * How a text is cut. `word`: document by document in rolling windows, every token scored once, as lm-evaluation-harness
 * does. `token`: all documents in a row, in pieces without overlap.
 */
export type PerplexityProtocol = 'word' | 'token';

/** How a text is scored. */
export interface PerplexityOptions {
  /** `word` by default. */
  readonly protocol?: PerplexityProtocol;
  /** Tokens of a window; 2048 by default, or the model's own context if that is shorter. */
  readonly contextLength?: number;
  /** No more than the first so many windows; by default all. */
  readonly windows?: number;
  /** Compute with the thresholds off, as the dense model does. False by default. */
  readonly dense?: boolean;
  /** Called after every window. */
  readonly onProgress?: (progress: Progress) => void;
  /** Stops within a window: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** The numbers are checked against the model's context. */
export const WINDOW_RULES: OptionRules<Omit<PerplexityOptions, 'dense'>> = {
  protocol: oneOf(['word', 'token'] satisfies PerplexityProtocol[]),
  contextLength: CHECKED_LATER,
  windows: CHECKED_LATER,
  onProgress: CALLBACK,
  signal: SIGNAL,
};

export const PERPLEXITY_RULES: OptionRules<PerplexityOptions> = {...WINDOW_RULES, dense: FLAG};

/** How well a model predicts a text. */
export interface Perplexity {
  readonly wordPerplexity: number;
  readonly tokenPerplexity: number;
  /** Tokens that were scored. */
  readonly tokens: number;
  /** Words of the text that they make; where a document is not scored whole, by the share of its tokens. */
  readonly words: number;
  /** Actual sparsity over the tokens that were computed; null if no layer is sparsified, or with `dense`. */
  readonly sparsity: SparsityReport | null;
}

export interface WindowOptions {
  readonly protocol: PerplexityProtocol;
  /** Tokens of a window. In the protocol `token` a piece has one less: 2047 at 2048. */
  readonly contextLength: number;
  /** No more than the first so many windows. */
  readonly windows?: number;
}

/** A window and how many words of the text its scored tokens make. */
export interface TextWindow extends Window {
  /**
   * A document's words go to its windows in the share of its tokens that they score: the sum over a whole document is
   * exact.
   */
  readonly words: number;
}

/** What was scored, in total. */
export interface Likelihood {
  /** Natural logarithm, over all scored tokens. */
  readonly logLikelihood: number;
  readonly tokens: number;
  readonly words: number;
}

/** Tokens scored between two looks at an abort signal; also bounds the memory that attention takes. */
const CHUNK = 512;

/**
 * Cuts documents into windows.
 *
 * @param documents Their texts and words.
 * @param encode Text to ids, without special tokens.
 * @param prefix The id that opens a window: beginning of text.
 * @throws {DatasetError} `empty` if there is no token.
 */
export function windowsOf(
  documents: readonly TextDocument[],
  encode: (text: string) => readonly number[],
  prefix: number,
  {protocol, contextLength, windows = Infinity}: WindowOptions,
): TextWindow[] {
  const found = protocol === 'word' ? byDocument : inARow;
  const result = found(documents, encode, prefix, contextLength, windows);
  if (result.length > 0) return result;
  throw new DatasetError('empty', 'the text has no tokens: there is nothing to score');
}

/**
 * Scores windows one after the other with a decoder, which is empty afterwards.
 *
 * @param dense Whether to compute with thresholds off.
 * @throws The signal's reason if it is aborted.
 */
export async function scoreWindows(
  decoder: Decoder,
  windows: readonly TextWindow[],
  {
    dense = false,
    onProgress,
    signal,
  }: {dense?: boolean; onProgress?: (progress: Progress) => void; signal?: AbortSignal} = {},
): Promise<Likelihood> {
  const sum = {logLikelihood: 0, tokens: 0, words: 0};
  for (const [i, {tokens, targets, scored, words}] of windows.entries()) {
    decoder.truncate(0);
    const context = tokens.length - scored;
    for (let start = 0; start < tokens.length;) {
      signal?.throwIfAborted();
      const end = Math.min(start + CHUNK, start < context ? context : tokens.length);
      if (end <= context) {
        await decoder.append(tokens.slice(start, end), {dense});
      } else {
        const scores = await decoder.score(tokens.slice(start, end), targets.slice(start, end), {dense});
        for (const score of scores) sum.logLikelihood += score;
      }
      start = end;
      await nextTurn(); // so that timers and signals get their turn
    }
    sum.tokens += scored;
    sum.words += words;
    onProgress?.({done: i + 1, total: windows.length});
  }
  decoder.truncate(0);
  return sum;
}

/** exp of minus the mean log likelihood, per word and per token. */
export function perplexitiesOf({logLikelihood, tokens, words}: Likelihood): {
  wordPerplexity: number;
  tokenPerplexity: number;
} {
  return {
    wordPerplexity: Math.exp(-logLikelihood / words),
    tokenPerplexity: Math.exp(-logLikelihood / tokens),
  };
}

type Cut = (
  documents: readonly TextDocument[],
  encode: (text: string) => readonly number[],
  prefix: number,
  contextLength: number,
  most: number,
) => TextWindow[];

const byDocument: Cut = (documents, encode, prefix, contextLength, most) => {
  const result: TextWindow[] = [];
  for (const {text, words} of documents) {
    if (result.length >= most) break;
    const ids = encode(text);
    for (const window of rollingWindows(ids, prefix, contextLength)) {
      result.push({...window, words: (words * window.scored) / ids.length});
    }
  }
  return result.slice(0, most);
};

const inARow: Cut = (documents, encode, prefix, contextLength, most) => {
  const size = contextLength - 1;
  const ids: number[] = [];
  const wordsUpTo = [0]; // by token: words before it
  for (const {text, words} of documents) {
    if (ids.length >= most * size) break;
    const own = encode(text);
    const before = wordsUpTo[ids.length];
    for (let i = 0; i < own.length; i++) {
      ids.push(own[i]);
      wordsUpTo.push(before + (words * (i + 1)) / own.length);
    }
  }
  const chunks = tokenChunks(ids, prefix, size).slice(0, most);
  return chunks.map((chunk, i) => {
    const start = i * size;
    return {...chunk, words: wordsUpTo[start + chunk.scored] - wordsUpTo[start]};
  });
};
