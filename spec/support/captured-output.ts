/**
 * @file Root hooks of mocha: what a test has written on stderr or by `console`, progress and warnings, is shown with the
 * test if it fails, and else not at all. What child processes write directly is theirs to catch.
 */
import type {Context, RootHookObject} from 'mocha';

const METHODS = ['log', 'info', 'warn', 'error', 'debug', 'table'] as const;

let captured: string[] = [];
let restore = () => {};

export const mochaHooks: RootHookObject = {
  beforeAll() {
    const {stderr} = process;
    const write = stderr.write.bind(stderr);
    const methods = METHODS.map((name) => console[name].bind(console));
    stderr.write = (chunk: string | Uint8Array, ...rest: unknown[]) => {
      captured.push(typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString());
      const callback = rest.find((argument) => typeof argument === 'function') as (() => void) | undefined;
      if (callback !== undefined) queueMicrotask(callback);
      return true;
    };
    for (const name of METHODS) {
      console[name] = (...values: unknown[]) => captured.push(`${values.map(String).join(' ')}\n`);
    }
    restore = () => {
      stderr.write = write;
      METHODS.forEach((name, i) => (console[name] = methods[i]));
    };
  },
  beforeEach(this: Context) {
    captured = [];
  },
  afterEach(this: Context) {
    const {currentTest} = this;
    if (currentTest?.state !== 'failed' || captured.length === 0) return;
    // Mocha prints a failure after the last test, with its stack.
    currentTest.err!.stack = `${currentTest.err!.stack}\n\nit wrote:\n${captured.join('')}`;
  },
  afterAll() {
    restore();
  },
};
