/** @file Which layers share the sparsity, and between which bounds each is free. */
import {ScopeError} from '../errors.js';
import type {ModelGraph} from '../scope/model-graph.js';
import {CHECKED_LATER, checkOptions, type OptionRules} from '../option-rules.js';
import {selectTargets} from '../scope/select-targets.js';
import {Scope, TargetScope} from '../scope/target-scope.js';
import {checkTarget} from '../scope/parse-targets.js';

/** Least and most share of its inputs that a layer may mask, in [0, 1]; 0 and 0.95 by default. */
export interface SparsityBounds {
  readonly minimum?: number;
  readonly maximum?: number;
}

/** The layers that share the sparsity: one scope, or bounds for each of several, or for each pattern. */
export type AllocationScopes =
  | TargetScope
  | readonly (readonly [TargetScope, SparsityBounds])[]
  | ReadonlyMap<TargetScope, SparsityBounds>
  | Readonly<Record<string, SparsityBounds>>;

/** A layer's bounds, both given. */
export interface LayerBounds {
  readonly minimum: number;
  readonly maximum: number;
}

const BOUNDS: OptionRules<SparsityBounds> = {minimum: CHECKED_LATER, maximum: CHECKED_LATER};

/** The law has its wall at 1: beyond this it says nothing. */
const DEFAULT_MAXIMUM = 0.95;

/**
 * The bounds of every layer that a scope selects.
 *
 * @param scopes All supported nodes by default.
 * @returns By name, in the order of the graph; never empty.
 * @throws {ScopeError} as `selectTargets`; `invalid-bounds` for a minimum above the maximum, or `invalid-scope` for scopes of
 *   another form; {SparsifyError} `unknown-option`, `bad-option` for bounds that are none.
 */
export function selectBounds(
  graph: ModelGraph,
  scopes: AllocationScopes | undefined,
  ignoredScope: Scope | null | undefined,
  supportedTypes: ReadonlySet<string>,
): Map<string, LayerBounds> {
  const entries = entriesOf(scopes).map(([scope, given]) => [scope, checked(scope, given)] as const);
  const select = (bound: keyof LayerBounds) =>
    selectTargets(
      graph,
      entries.map(([scope, bounds]) => [scope, bounds[bound]] as const),
      ignoredScope,
      supportedTypes,
    );
  const maxima = select('maximum');
  return new Map(
    [...select('minimum')].map(([path, minimum]) => [path, {minimum, maximum: maxima.get(path)!}]),
  );
}

function entriesOf(scopes: AllocationScopes | undefined): (readonly [TargetScope, SparsityBounds])[] {
  if (scopes === undefined) return [[new TargetScope({patterns: ['.*']}), {}]];
  if (scopes instanceof TargetScope) return [[scopes, {}]];
  if (scopes instanceof Map || Array.isArray(scopes)) return [...(scopes as Iterable<unknown>)].map(pairOf);
  if (typeof scopes !== 'object' || scopes === null || scopes instanceof Scope || Symbol.iterator in scopes) {
    throw invalidScope(
      'the scopes of an allocation must be a TargetScope, pairs [TargetScope, bounds], a Map, or an object',
    );
  }
  return Object.entries(scopes).map(([pattern, bounds]) => [new TargetScope({patterns: [pattern]}), bounds]);
}

function pairOf(entry: unknown): readonly [TargetScope, SparsityBounds] {
  const [scope, bounds, ...rest] = Array.isArray(entry) ? (entry as unknown[]) : [];
  if (scope instanceof TargetScope && bounds !== undefined && rest.length === 0)
    return [scope, bounds as SparsityBounds]; // checked below
  throw invalidScope('each entry of the scopes of an allocation must be a pair [TargetScope, bounds]');
}

function invalidScope(what: string): ScopeError {
  return new ScopeError('invalid-scope', `${what}: write {'.*up_proj.*': {minimum: 0.2, maximum: 0.8}}`);
}

function checked(scope: TargetScope, given: SparsityBounds): LayerBounds {
  const whose = scope.describe();
  checkOptions(`the bounds of ${whose}`, given, BOUNDS);
  const {minimum = 0, maximum} = given;
  const most = maximum ?? Math.max(minimum, DEFAULT_MAXIMUM);
  checkTarget(minimum, `${whose} (minimum)`);
  checkTarget(most, `${whose} (maximum)`);
  if (minimum <= most) return {minimum, maximum: most};
  throw new ScopeError(
    'invalid-bounds',
    `the minimum ${minimum} is above the maximum ${most} for ${whose}; exchange them, or leave one out`,
    {minimum, maximum: most},
  );
}
