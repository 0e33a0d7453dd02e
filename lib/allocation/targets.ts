/** @file An allocation as targets by scope: one scope a layer. */
import {TargetScope} from '../scope/target-scope.js';
import type {TargetSparsityByScope} from '../scope/targets.js';
import {isAllocation, type Allocation} from './contract.js';

/** The targets of an allocation; others as they are. */
export function targetsIn(given: TargetSparsityByScope | Allocation): TargetSparsityByScope {
  if (!isAllocation(given)) return given;
  return given.layers.map(({path, target}) => [new TargetScope({names: [path]}), target] as const);
}
