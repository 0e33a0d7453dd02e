/** @file An allocation as targets by scope: one scope for all layers of a target, since each is matched with all layers. */
import {TargetScope} from '../scope/target-scope.js';
import type {TargetSparsityByScope} from '../scope/parse-targets.js';
import {isAllocation, type Allocation} from '../metadata/allocation.js';

/** The targets of an allocation; others as they are. */
export function targetsIn(given: TargetSparsityByScope | Allocation): TargetSparsityByScope {
  if (!isAllocation(given)) return given;
  const paths = new Map<number, string[]>();
  for (const {path, target} of given.layers) paths.set(target, [...(paths.get(target) ?? []), path]);
  return [...paths].map(([target, names]) => [new TargetScope({names}), target] as const);
}
