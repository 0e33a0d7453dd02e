/**
 * @file Target sparsities by scope, in any of the forms that a caller may write, as one checked list.
 */
import {ScopeError} from '../errors.js';
import {TargetScope} from './target-scope.js';

/**
 * A target sparsity, 0 to 1, for each scope: pairs, a `Map`, or a plain object from pattern to target. Of equal
 * scopes the last one counts.
 */
export type TargetSparsityByScope =
  | readonly (readonly [TargetScope, number])[]
  | ReadonlyMap<TargetScope, number>
  | Readonly<Record<string, number>>;

/** One scope and its target sparsity, in [0, 1]. */
export interface TargetEntry {
  readonly scope: TargetScope;
  readonly target: number;
}

/**
 * Reads targets into one form and checks them.
 * @param targets pairs, a Map, or an object from pattern to target sparsity.
 * @returns the entries in their order, equal scopes collapsed into the first's place with the last's target.
 * @throws ScopeError `invalid-scope` when a key is not a TargetScope or the whole has another form;
 *   `target-out-of-range` when a target is not a number in [0, 1].
 */
export function parseTargets(targets: TargetSparsityByScope): TargetEntry[] {
  const entries: {scope: TargetScope; target: number}[] = [];
  for (const [scope, target] of pairs(targets)) {
    checkTarget(target, scope.describe());
    const same = entries.find((entry) => entry.scope.equals(scope));
    if (same === undefined) {
      entries.push({scope, target});
    } else {
      same.target = target;
    }
  }
  return entries;
}

/**
 * Checks one target sparsity.
 * @param target what was given.
 * @param whose what it is for, as a message shows it.
 * @throws ScopeError `target-out-of-range` unless it is a number in [0, 1].
 */
export function checkTarget(target: unknown, whose: string): asserts target is number {
  if (typeof target === 'number' && target >= 0 && target <= 1) {
    return;
  }
  throw new ScopeError(
    'target-out-of-range',
    `target sparsity is ${show(target)} for ${whose}; it must be a number in [0, 1]: write 0.5 for 50 %`,
    {target, scope: whose},
  );
}

function* pairs(targets: unknown): Generator<[TargetScope, unknown]> {
  if (targets instanceof Map) {
    for (const [scope, target] of targets as Map<unknown, unknown>) {
      yield [asScope(scope), target];
    }
  } else if (Array.isArray(targets)) {
    for (const pair of targets as unknown[]) {
      if (!Array.isArray(pair) || pair.length !== 2) {
        throw invalidScope(pair, 'each entry of the array must be a pair [TargetScope, target sparsity]');
      }
      yield [asScope(pair[0]), pair[1]];
    }
  } else if (isPlainObject(targets)) {
    for (const [pattern, target] of Object.entries(targets)) {
      yield [new TargetScope({patterns: [pattern]}), target];
    }
  } else {
    throw invalidScope(
      targets,
      'targetSparsityByScope must be an array of [TargetScope, number], a Map, or an object from pattern to ' +
        "number: write {'.*up_proj.*': 0.5}",
    );
  }
}

function asScope(scope: unknown): TargetScope {
  if (scope instanceof TargetScope) {
    return scope;
  }
  const hint =
    typeof scope === 'string'
      ? `write new TargetScope({patterns: [${JSON.stringify(scope)}]})`
      : "write new TargetScope({patterns: ['.*']}) for all layers";
  throw invalidScope(scope, `the key of a target sparsity must be a TargetScope: ${hint}`);
}

function invalidScope(value: unknown, allowed: string): ScopeError {
  return new ScopeError('invalid-scope', `got ${show(value)}; ${allowed}`, {value});
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) {
    return false;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function show(value: unknown): string {
  if (typeof value === 'string') {
    return `the string ${JSON.stringify(value)}`;
  }
  return typeof value === 'object' && value !== null
    ? `an object (${value.constructor?.name ?? 'Object'})`
    : String(value);
}
