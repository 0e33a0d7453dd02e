/**
 * @file Loaded first in every process that a spec starts under Stryker: writes each mutant down when it is reached first,
 * at once, since such processes are often killed.
 */
import {appendFileSync} from 'node:fs';
import {join} from 'node:path';

const {SPARSIFY_MUTANT_CHILD_HITS: folder, __STRYKER_ACTIVE_MUTANT__: activeMutant} = process.env;

if (folder !== undefined) {
  const file = join(folder, String(process.pid));
  const hits = new Proxy(/** @type {Record<string, number>} */ ({}), {
    set(target, id, value) {
      if (typeof id === 'string' && target[id] === undefined) write(`${id}\n`);
      return Reflect.set(target, id, value);
    },
  });
  const mutantCoverage = activeMutant === undefined ? {static: hits, perTest: {}} : undefined;
  /** @type {any} */ (globalThis).__stryker__ = {activeMutant, mutantCoverage};

  /** @param {string} line */
  function write(line) {
    try {
      appendFileSync(file, line);
    } catch {
      // The run has ended and its folder is gone.
    }
  }
}
