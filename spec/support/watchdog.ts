/**
 * @file Root hooks of mocha against lock-ups in one thread: a call into an addon that never returns, a thread of its pool
 * that was not woken, keeps mocha's own time limit from being seen too. A worker watches the clock; where a test is not
 * left long after its limit, the worker says which, and ends the process.
 */
import {Worker} from 'node:worker_threads';
import type {Context, RootHookObject} from 'mocha';

/** After a test's own limit, at which mocha says that it failed where it can. */
const GRACE_MS = Number(process.env.SPARSIFY_SPEC_GRACE_MS ?? 30_000);
/** Of what runs between tests, hooks of suites, which have limits of their own. */
const BETWEEN_MS = 600_000;

/** Looks at the deadline that it was told last; the thread that tells may stand still. */
const CODE = `
const {parentPort} = require('node:worker_threads');
const {writeSync} = require('node:fs');
let watched = null;
parentPort.on('message', (message) => (watched = message));
setInterval(() => {
  if (watched === null || Date.now() < watched.deadline) return;
  const seconds = Math.round((Date.now() - watched.since) / 1000);
  writeSync(2, '\\nlocked up for ' + seconds + ' s, so the process is ended: ' + watched.title +
    '\\nIts thread stands in a call that does not return: a loop, or a call into an addon.\\n');
  process.kill(process.pid, 'SIGKILL');
}, 200);`;

let worker: Worker | undefined;

function watch(title: string, limitMs: number): void {
  const since = Date.now();
  // Without a limit, as in a debugger, nothing is watched.
  const deadline = limitMs === 0 ? Infinity : since + limitMs + GRACE_MS;
  worker?.postMessage({title, since, deadline});
}

export const mochaHooks: RootHookObject = {
  beforeAll() {
    // Where files run in several processes, this comes once a file.
    worker ??= new Worker(CODE, {eval: true, execArgv: []});
    worker.unref();
    watch('before the first test', BETWEEN_MS);
  },
  beforeEach(this: Context) {
    const test = this.currentTest!;
    const title = test.fullTitle();
    watch(title, test.timeout());
    // A test that gives itself more time says so when it runs.
    const set = test.timeout.bind(test) as (ms?: string | number) => number;
    test.timeout = ((ms?: string | number) => {
      if (ms === undefined) return set();
      const result = set(ms);
      watch(title, set());
      return result;
    }) as typeof test.timeout;
  },
  afterEach(this: Context) {
    watch(`after ${this.currentTest!.fullTitle()}`, BETWEEN_MS);
  },
  afterAll() {
    worker?.postMessage(null);
  },
};
