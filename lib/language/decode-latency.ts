/**
 * @file How long a language model takes for one token while it decodes, dense and sparse, in turns of several tokens: a model whose weights fit
 * the caches finds them there, as it does when it decodes alone, but for the first token of a turn.
 */
import {median} from '../eval/latency.js';
import {SIGNAL, POSITIVE, checkOptions, count, type OptionRules} from '../option-rules.js';
import type {LanguageModel} from './language-model.js';

/** A way of decoding. */
export interface DecodeContestant {
  readonly lm: LanguageModel;
  /** With thresholds off. */
  readonly dense: boolean;
}

export interface DecodeLatencyOptions {
  /** Timed tokens of each; 32 by default, fewer where they take longer than `seconds`, 3 at least. */
  readonly tokens?: number;
  /** About how long all is timed. 10 by default. */
  readonly seconds?: number;
  readonly signal?: AbortSignal;
}

const RULES: OptionRules<DecodeLatencyOptions> = {tokens: count(), seconds: POSITIVE, signal: SIGNAL};

const WARM_UP = 2;
const TURN_TOKENS = 8;
const LEAST = 3;

/**
 * Times single tokens of each contestant, in turns, with a cache that grows from empty.
 *
 * @returns Median milliseconds of a token, by contestant.
 * @throws The signal's reason if it is aborted.
 */
export async function measureDecodeLatency(
  contestants: readonly DecodeContestant[],
  options: DecodeLatencyOptions = {},
): Promise<number[]> {
  checkOptions('measureDecodeLatency', options, RULES);
  const {tokens = 32, seconds = 10, signal} = options;
  const decoders = contestants.map(({lm}) => lm.decoder());
  const took = contestants.map((): number[] => []);
  const longest = Math.min(...contestants.map(({lm}) => lm.config.contextLength));
  try {
    const start = performance.now();
    const end = Math.min(tokens + WARM_UP, longest);
    for (let first = 0, next = 0; first < end; first = next) {
      if (first > 0 && performance.now() - start > 1000 * seconds) break;
      next = Math.min(end, first + (first === 0 ? WARM_UP + LEAST : TURN_TOKENS));
      for (const [j, {dense, lm}] of contestants.entries()) {
        for (let i = first; i < next; i++) {
          signal?.throwIfAborted();
          const id = (7 * i + 1) % lm.config.vocabularySize; // any will do: the work is the same but for what is masked
          const before = performance.now();
          await decoders[j].append([id], {dense});
          if (i >= WARM_UP) took[j].push(performance.now() - before);
        }
      }
    }
    return took.map(median);
  } finally {
    for (const decoder of decoders) decoder.dispose();
  }
}
