/**
 * @file tfjs-node 4.22 calls `util.isNullOrUndefined` and `util.isArray`, which Node 23 removed. They are put
 * back, as they were, before it is loaded.
 */
import util from 'node:util';

/** Puts the type checks of `node:util` back that Node 23 removed; where they exist nothing changes. */
export function restoreNodeUtil() {
  const checks = {
    isArray: Array.isArray,
    isNullOrUndefined: (/** @type {unknown} */ value) => value === null || value === undefined,
  };
  for (const [name, check] of Object.entries(checks)) {
    if (!(name in util))
      Object.defineProperty(util, name, {value: check, configurable: true, writable: true});
  }
}
