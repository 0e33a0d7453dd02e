/**
 * @file The browsers that specs drive: each is started once in a run of mocha, which is a run of one file where files run in
 * several processes, for the first spec that needs it, with a profile of its own in a temporary folder, and ended after the last.
 */
import {launch, type Browser} from 'puppeteer-core';
import {findBrowser, type BrowserName} from '../../../scripts/set-up/browser.js';

export type {BrowserName};

/** Browsers start in seconds; a machine that does much else takes several times as long. */
const START_MS = 120_000;

const started = new Map<BrowserName, Promise<Browser>>();

/** The suites around all others in whose runs the browsers will be ended. */
const ending = new WeakSet<Mocha.Suite>();

function endWith(suite: Mocha.Suite): void {
  while (suite.parent !== undefined) suite = suite.parent;
  if (ending.has(suite)) return;
  ending.add(suite);
  suite.afterAll(async () => {
    for (const browser of started.values()) await (await browser).close();
    started.clear();
  });
}

/**
 * Skips the suite where the browser is missing; in CI that fails instead, so that no change passes without these specs. Call
 * it in a `before` hook, before {@link browserOf}.
 *
 * @throws {Error} In CI, if there is none.
 */
export function requireBrowser(name: BrowserName, context: Mocha.Context): void {
  if (findBrowser(name) !== undefined) return endWith(context.test!.parent!);
  if (process.env.CI) throw new Error(`there is no ${name}, which the specs in CI need: install one`);
  context.skip();
}

/** The browser; {@link requireBrowser} has found it. */
export function browserOf(name: BrowserName): Promise<Browser> {
  const running = started.get(name);
  if (running !== undefined) return running;
  const starting = start(name, findBrowser(name)!);
  started.set(name, starting);
  return starting;
}

function start(name: BrowserName, executablePath: string): Promise<Browser> {
  // Else puppeteer ends this process at a signal, also one that a spec sends to itself.
  const signals = {handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false};
  if (name === 'firefox') return launch({browser: 'firefox', executablePath, timeout: START_MS, ...signals});
  // The sandbox refuses root, which containers often run as; their shared memory is often too small for a page.
  const forRoot = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  // A browser on a pipe ends with this process, however that ends.
  return launch({
    executablePath,
    pipe: true,
    timeout: START_MS,
    args: [...forRoot, '--disable-dev-shm-usage'],
    ...signals,
  });
}
