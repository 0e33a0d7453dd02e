/**
 * @file tfjs-node 4.22 calls `util.isNullOrUndefined` and `util.isArray`, which Node 22 warns of and Node 23
 * removed. They are put (back) in place before it is loaded.
 */
import util from 'node:util';

/** Gives `node:util` the two type checks that tfjs-node calls, without their deprecation warnings. */
export function restoreNodeUtil(): void {
  Object.assign(util, {
    isArray: Array.isArray,
    isNullOrUndefined: (value: unknown) => value === null || value === undefined,
  });
}
