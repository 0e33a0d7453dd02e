/**
 * @file Root hooks of mocha under Stryker: the mutant that is active in this process is active in the processes that a
 * spec starts too, and what those processes reach counts as reached by every spec of the same file (a server that a
 * file starts once answers all of them).
 */
import {mkdtempSync, readFileSync, readdirSync, rmSync} from 'node:fs';
import {join} from 'node:path';

const {SPARSIFY_MUTANT_HITS: HITS, NODE_OPTIONS = ''} = process.env;

/** Where children of this process leave what they reach. @type {string} */
let folder;
/** @type {Map<string, Set<string>>} */
let reached;

export const mochaHooks = {
  beforeAll() {
    if (HITS === undefined) throw new Error('SPARSIFY_MUTANT_HITS is not set: run npm run mutants');
    folder = mkdtempSync(join(HITS, 'run-'));
    reached = new Map();
    const active = stryker().activeMutant;
    if (active === undefined) delete process.env.__STRYKER_ACTIVE_MUTANT__;
    else process.env.__STRYKER_ACTIVE_MUTANT__ = active;
    process.env.SPARSIFY_MUTANT_CHILD_HITS = folder;
    const child = new URL('child.mjs', import.meta.url).href;
    process.env.NODE_OPTIONS = `${NODE_OPTIONS} --import ${child}`;
  },

  /** @this {Mocha.Context} */
  afterEach() {
    const {file = ''} = /** @type {Mocha.Test} */ (this.currentTest);
    const ids = reached.get(file) ?? new Set();
    for (const name of readdirSync(folder)) {
      for (const id of readFileSync(join(folder, name), 'utf8').split('\n')) if (id !== '') ids.add(id);
    }
    reached.set(file, ids);
  },

  /** @this {Mocha.Context} */
  afterAll() {
    const namespace = stryker();
    if (namespace.activeMutant === undefined) {
      const mutantCoverage = (namespace.mutantCoverage ??= {static: {}, perTest: {}});
      const root = /** @type {Mocha.Suite} */ (/** @type {Mocha.Runnable} */ (this.test).parent);
      root.eachTest((test) => {
        for (const id of reached.get(test.file ?? '') ?? []) {
          const hits = (mutantCoverage.perTest[test.fullTitle()] ??= {});
          hits[id] = (hits[id] ?? 0) + 1;
        }
      });
    }
    rmSync(folder, {recursive: true, force: true});
  },
};

/**
 * What Stryker and the changed sources keep in a process.
 *
 * @returns {{activeMutant?: string, mutantCoverage?: {static: object, perTest: Record<string, Record<string, number>>}}}
 */
function stryker() {
  return /** @type {any} */ (globalThis).__stryker__;
}
