/** @file Checks of what an allocation is asked for. */
import {ScopeError, SparsifyError, nearest} from '../errors.js';
import {CALLBACK, SIGNAL, type OptionRules} from '../option-rules.js';
import type {AllocationMethod, AllocationTarget, AllocationWeighting} from '../metadata/allocation.js';
import type {LossOptions, MeasureOptions} from './measures.js';

export const ALLOCATION_METHODS: readonly AllocationMethod[] = ['local', 'uniform', 'greedy'];

const ALLOCATION_WEIGHTINGS: readonly AllocationWeighting[] = ['weights', 'time'];

export const MEASURE_RULES: OptionRules<MeasureOptions> = {onProgress: CALLBACK, signal: SIGNAL};

export const LOSS_RULES: OptionRules<LossOptions> = {...MEASURE_RULES, isClear: CALLBACK};

/** What each part of a target must be. */
const PARTS: Readonly<Record<keyof AllocationTarget, {allowed: string; fits(value: number): boolean}>> = {
  sparsity: {allowed: 'lie in [0, 1]: write 0.5 for 50 %', fits: (value) => value >= 0 && value <= 1},
  maxLoss: {allowed: 'be above 0: write 0.02 for 2 %', fits: (value) => value > 0 && value < Infinity},
  speedup: {
    allowed: 'be at least 1: write 1.4 for 1.4 times as fast',
    fits: (value) => value >= 1 && value < Infinity,
  },
  latencyMs: {allowed: 'be above 0, in milliseconds', fits: (value) => value > 0 && value < Infinity},
};

/**
 * Reads a target into one form.
 *
 * @param given A mean sparsity, or the parts of a target.
 * @throws {SparsifyError} `bad-target`.
 */
export function parseTarget(given: number | AllocationTarget): AllocationTarget {
  const target: AllocationTarget = typeof given === 'number' ? {sparsity: given} : given;
  if (typeof target !== 'object' || target === null || Symbol.iterator in target) {
    throw badTarget('it must be a mean sparsity, as 0.5, or an object, as {maxLoss: 0.02}', given);
  }
  const parts = Object.entries(target).filter(([, value]) => value !== undefined) as [string, unknown][];
  for (const [part, value] of parts) {
    if (!Object.hasOwn(PARTS, part)) {
      throw badTarget(`there is no "${part}" in a target; it has ${Object.keys(PARTS).join(', ')}`, target);
    }
    const rule = PARTS[part as keyof AllocationTarget];
    if (typeof value !== 'number' || !rule.fits(value)) {
      throw badTarget(`${part} is ${String(value)}; it must ${rule.allowed}`, target);
    }
  }
  const names = parts.map(([part]) => part);
  if (names.length === 0) throw badTarget('the target is empty: write {maxLoss: 0.02}, say', target);
  if (names.includes('sparsity') && names.length > 1) {
    throw badTarget(
      'a mean sparsity leaves nothing to choose: leave the other parts of the target out',
      target,
    );
  }
  if (names.includes('speedup') && names.includes('latencyMs')) {
    throw badTarget('speedup and latencyMs are two ways to ask for one thing: leave one out', target);
  }
  return Object.fromEntries(parts);
}

/** @throws {SparsifyError} `unknown-method`. */
export function checkMethod(method: string): asserts method is AllocationMethod {
  checkOneOf('method', method, ALLOCATION_METHODS);
}

/** @throws {SparsifyError} `unknown-method`. */
export function checkWeighting(weighting: string): asserts weighting is AllocationWeighting {
  checkOneOf('weighting', weighting, ALLOCATION_WEIGHTINGS);
}

/**
 * @param least,most Means that the bounds of the layers allow.
 * @throws {ScopeError} `target-out-of-range`.
 */
export function checkReachable(
  sparsity: number,
  {least, most}: {readonly least: number; readonly most: number},
): void {
  const tolerance = 1e-9;
  if (sparsity >= least - tolerance && sparsity <= most + tolerance) return;
  throw new ScopeError(
    'target-out-of-range',
    `the mean sparsity is ${sparsity}; the bounds of the layers allow ${least.toFixed(3)} to ${most.toFixed(3)}: ask for ` +
      'one between, or give the scopes other bounds',
    {target: sparsity, least, most},
  );
}

function checkOneOf(what: string, value: unknown, allowed: readonly string[]): void {
  if (allowed.includes(value as string)) return;
  const near = nearest(String(value), allowed)[0] ?? allowed[0];
  throw new SparsifyError(
    'unknown-method',
    `the ${what} of the allocation is "${String(value)}"; it must be one of ${allowed.join(', ')}: did you mean "${near}"?`,
    {got: value, allowed},
  );
}

function badTarget(what: string, target: unknown): SparsifyError {
  return new SparsifyError('bad-target', `the target of the allocation is wrong: ${what}`, {target});
}
