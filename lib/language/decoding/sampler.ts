/**
 * @file Which token follows, given the logits: the likeliest, or one drawn from the likeliest few. Order of the steps
 * as in Hugging Face transformers' logits warpers: temperature, then top-k, then top-p (nucleus sampling, Holtzman et
 * al. 2020, "The Curious Case of Neural Text Degeneration"), then min-p (Nguyen et al. 2024, "Turning Up the Heat"). Draws by mulberry32 (Tommy Ettinger, public domain), so
 * that a seed gives the same tokens on every machine that computes the same logits.
 */
import {ModelError, SparsifyError} from '../../errors.js';
import {CHECKED_LATER, checkOptions, type OptionRules} from '../../option-rules.js';
import {seededRandom} from '../../stats/seeded-random.js';

export interface SamplingOptions {
  /** Logits are divided by it; 0, the default, always takes the likeliest token. At least 0. */
  readonly temperature?: number;
  /** Draw from the fewest tokens whose probabilities reach this sum; in (0, 1], 1 by default: all. */
  readonly topP?: number;
  /** Draw from the so many likeliest tokens; by default from all. */
  readonly topK?: number;
  /** Of those, draw from the tokens that are at least so likely as a share of the likeliest; in [0, 1], 0 by default: all. */
  readonly minP?: number;
  /** A whole number: the same gives the same draws. By default another each time. */
  readonly seed?: number;
}

/** The ranges are checked by the sampler. */
export const SAMPLING_RULES: OptionRules<SamplingOptions> = {
  temperature: CHECKED_LATER,
  topP: CHECKED_LATER,
  topK: CHECKED_LATER,
  minP: CHECKED_LATER,
  seed: CHECKED_LATER,
};

/**
 * Picks an id.
 *
 * @param logits [vocabulary]; not kept, not changed.
 * @throws {ModelError} `nan-logits` if a logit is NaN, or none is finite.
 */
export type Sampler = (logits: Float32Array) => number;

/**
 * A sampler with its own state of randomness.
 *
 * @throws {SparsifyError} `bad-option` for a value outside its range, `unknown-option`.
 * @example
 * const sample = createSampler({temperature: 0.7, topP: 0.9, seed: 1});
 */
export function createSampler(options: SamplingOptions = {}): Sampler {
  checkOptions('createSampler', options, SAMPLING_RULES);
  const {temperature = 0, topP = 1, topK, minP = 0, seed} = options;
  const isNumber = (value: unknown) => typeof value === 'number';
  check(
    'temperature',
    temperature,
    isNumber(temperature) && temperature >= 0 && temperature < Infinity,
    'at least 0: 0 is greedy',
  );
  check('topP', topP, isNumber(topP) && topP > 0 && topP <= 1, 'in (0, 1]: 1 draws from all tokens');
  check(
    'topK',
    topK,
    topK === undefined || (Number.isInteger(topK) && topK >= 1),
    'a whole number of 1 or more',
  );
  check('minP', minP, isNumber(minP) && minP >= 0 && minP <= 1, 'in [0, 1]: 0 leaves all tokens in');
  check('seed', seed, seed === undefined || Number.isSafeInteger(seed), 'a whole number');
  if (temperature === 0) return likeliest;
  const random = seededRandom(seed ?? Math.floor(Math.random() * 2 ** 32));
  return (logits) => {
    const scaled = probabilities(logits, temperature);
    const candidates = topCandidates(scaled, topK ?? scaled.length, topP);
    const likely = minP === 0 ? candidates : candidates.filter((id) => scaled[id] >= minP);
    return draw(scaled, likely, random());
  };
}

/** The id of the largest logit, the first of equals. */
export function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let id = 0; id < logits.length; id++) {
    if (logits[id] !== logits[id]) throw notANumber(id);
    if (logits[id] > logits[best]) best = id;
  }
  if (!Number.isFinite(logits[best])) throw notANumber(best);
  return best;
}

/** Softmax of the logits over the temperature, up to a common factor: the likeliest token has 1. */
function probabilities(logits: Float32Array, temperature: number): Float64Array {
  const largest = logits[likeliest(logits)];
  return Float64Array.from(logits, (logit) => Math.exp((logit - largest) / temperature));
}

/**
 * The likeliest ids, likeliest first: at most `topK`, and no more than it takes to reach `topP` of what those hold
 * together. Sorts only what can be among them: a vocabulary has 10^5 entries, a nucleus mostly fewer than 100.
 *
 * @param weights Not negative, largest 1.
 */
function topCandidates(weights: Float64Array, topK: number, topP: number): number[] {
  const all = Array.from(weights.keys());
  const limited = topK < weights.length;
  if (!limited && topP === 1) return all;
  const total = mass(weights, all);
  const enough = (ids: number[]) => (limited ? ids.length >= topK : mass(weights, ids) >= topP * total);
  let floor = 1;
  let ids: number[];
  do {
    floor = floor < 1e-12 ? 0 : floor / 64;
    ids = all.filter((id) => weights[id] >= floor);
  } while (floor > 0 && !enough(ids));
  const kept = ids.sort((a, b) => weights[b] - weights[a] || a - b).slice(0, topK);
  return kept.slice(0, nucleusSize(weights, kept, topP * (limited ? mass(weights, kept) : total)));
}

/** How many of the ids, from the first, it takes to reach `sum`. */
function nucleusSize(weights: Float64Array, ids: readonly number[], sum: number): number {
  let reached = 0;
  for (const [i, id] of ids.entries()) {
    reached += weights[id];
    if (reached >= sum) return i + 1;
  }
  return ids.length;
}

function mass(weights: Float64Array, ids: readonly number[]): number {
  return ids.reduce((sum, id) => sum + weights[id], 0);
}

/** The id at which the weights' running sum passes the share `point`, in [0, 1). */
function draw(weights: Float64Array, ids: readonly number[], point: number): number {
  let left = point * mass(weights, ids);
  for (const id of ids) {
    left -= weights[id];
    if (left < 0) return id;
  }
  return ids[0]; // only by rounding
}

function notANumber(id: number): ModelError {
  return new ModelError(
    'nan-logits',
    `the model gives ${id === 0 ? 'NaN or nothing finite' : `NaN as logit ${id}`}, so no token can be chosen: its weights ` +
      'or thresholds are damaged; import it again, and look at inspect(model) for thresholds that are not finite',
    {id},
  );
}

function check(option: string, got: unknown, allowed: boolean, range: string): void {
  if (allowed) return;
  throw new SparsifyError('bad-option', `${option} is ${String(got)}; it must be ${range}`, {option, got});
}
