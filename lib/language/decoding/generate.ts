/**
 * @file The loop of generation: prompt, then token by token until an end token, a stop string, or the limit. Works on
 * token ids; text comes out beside them where there is a tokenizer.
 */
import {nextTurn} from '../../event-loop.js';
import {SparsifyError} from '../../errors.js';
import {CALLBACK, CHECKED_LATER, SIGNAL, checkOptions, type OptionRules} from '../../option-rules.js';
import type {DecoderSession, PrefillPolicy} from './decoder-session.js';
import {SAMPLING_RULES, createSampler, type SamplingOptions} from './sampler.js';
import {StopStrings, TextStream, type TokenDecoder} from './text-stream.js';

export interface GenerateOptions extends SamplingOptions {
  /** Most tokens to generate; 256 by default. The model's context ends a generation too. */
  readonly maxTokens?: number;
  /** Ends the text before the first of these; needs a tokenizer. */
  readonly stop?: string | readonly string[];
  /** Stops between two tokens: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called for every token as it comes. */
  readonly onToken?: (token: GeneratedToken) => void;
  /**
   * Which tokens are computed sparse. `dense` by default: generated ones, and the prompt dense. The text behind a dense
   * prompt is predicted better (`npm run bench -- prefill`), and many tokens at once are no faster sparse.
   */
  readonly prefill?: PrefillPolicy;
}

/** A token as it comes. */
export interface GeneratedToken {
  /** Null for text that was held back until the end. */
  readonly id: number | null;
  /** Text that is certain by now; empty while a character or a stop string may be unfinished, or without tokenizer. */
  readonly text: string;
}

export interface Generation {
  /** What follows the prompt, without end token and stop string; empty without tokenizer. */
  readonly text: string;
  /** The generated ids; an end token is not among them, those of a stop string are. */
  readonly tokens: readonly number[];
  /** `stop`: an end token or stop string came; `length`: `maxTokens` or the model's context was reached. */
  readonly finishReason: 'stop' | 'length';
  readonly promptTokens: number;
  /** From the call to the first token. */
  readonly timeToFirstTokenMs: number;
  /** After the first token; 0 if there is no second one. */
  readonly tokensPerSecond: number;
}

const RULES: OptionRules<GenerateOptions> = {
  ...SAMPLING_RULES,
  maxTokens: CHECKED_LATER,
  stop: CHECKED_LATER,
  prefill: CHECKED_LATER,
  signal: SIGNAL,
  onToken: CALLBACK,
};

const POLICIES: ReadonlySet<unknown> = new Set(['sparse', 'dense', undefined]);

/** What the loop needs of the model. */
export interface GenerationContext {
  readonly session: Pick<DecoderSession, 'prefill' | 'next'>;
  readonly tokenizer: TokenDecoder | null;
  readonly endTokens: ReadonlySet<number>;
  readonly contextLength: number;
}

/**
 * Generates after a prompt, giving out each token as it comes.
 *
 * @param prompt At least one id, fewer than the context holds.
 * @returns At its end what was generated.
 * @throws {SparsifyError} `bad-option`; {ModelError} `nan-logits`; the signal's reason.
 */
export async function* generateTokens(
  {session, tokenizer, endTokens, contextLength}: GenerationContext,
  prompt: readonly number[],
  options: GenerateOptions,
): AsyncGenerator<GeneratedToken, Generation, undefined> {
  checkGenerateOptions(options, tokenizer);
  const {maxTokens = 256, signal, prefill = 'dense', temperature, topP, topK, minP, seed} = options;
  const sample = createSampler({temperature, topP, topK, minP, seed});
  const stream = tokenizer === null ? null : new TextStream(tokenizer, prompt);
  const stops = new StopStrings([options.stop ?? []].flat());
  const limit = Math.min(maxTokens, contextLength - prompt.length);

  const tokens: number[] = [];
  let text = '';
  let finishReason: Generation['finishReason'] = 'length';
  const start = performance.now();
  let firstAt = start;
  let lastAt = start;
  let sampled = 0;
  let logits = await session.prefill(prompt, prefill, signal);
  while (tokens.length < limit) {
    const id = sample(logits);
    lastAt = performance.now();
    if (sampled++ === 0) firstAt = lastAt;
    if (endTokens.has(id)) {
      finishReason = 'stop';
      break;
    }
    tokens.push(id);
    const piece = stops.push(stream?.push(id) ?? '');
    text += piece;
    yield {id, text: piece};
    if (stops.stopped) {
      finishReason = 'stop';
      break;
    }
    signal?.throwIfAborted();
    if (tokens.length < limit) logits = await session.next(id, prefill, prompt.length);
    await nextTurn(); // so that timers and signals get their turn
    signal?.throwIfAborted();
  }
  const rest = stops.push(stream?.flush() ?? '') + stops.flush();
  if (rest !== '') yield {id: null, text: rest};
  return {
    text: text + rest,
    tokens,
    finishReason: stops.stopped ? 'stop' : finishReason,
    promptTokens: prompt.length,
    timeToFirstTokenMs: firstAt - start,
    tokensPerSecond: sampled < 2 ? 0 : (1000 * (sampled - 1)) / (lastAt - firstAt),
  };
}

function checkGenerateOptions(options: GenerateOptions, tokenizer: TokenDecoder | null): void {
  checkOptions('generate', options, RULES);
  const {maxTokens, stop, prefill} = options;
  const fail = (option: string, got: unknown, allowed: string) =>
    new SparsifyError('bad-option', `${option} is ${JSON.stringify(got)}; it must be ${allowed}`, {
      option,
      got,
    });
  if (maxTokens !== undefined && !(Number.isInteger(maxTokens) && maxTokens >= 1)) {
    throw fail('maxTokens', maxTokens, 'a whole number of 1 or more');
  }
  if (typeof prefill === 'number' ? !(Number.isInteger(prefill) && prefill >= 0) : !POLICIES.has(prefill)) {
    throw fail('prefill', prefill, '"sparse", "dense", or how many leading tokens are dense');
  }
  const stops = [stop ?? []].flat();
  if (stops.some((text: unknown) => typeof text !== 'string' || text === ''))
    throw fail('stop', stop, 'a string that is not empty, or several');
  if (stops.length > 0 && tokenizer === null) {
    throw new SparsifyError(
      'no-tokenizer',
      'stop strings need a tokenizer, and this model has none: leave out `stop`, and watch the ids in onToken',
    );
  }
}
