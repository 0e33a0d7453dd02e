/**
 * @file Pages for the specs of a suite: a site, a page in it, and calls of functions that a TypeScript file exports, which run
 * in that page or in a module worker of it. What a page reports as an error fails the spec.
 */
import {join} from 'node:path';
import type {ConsoleMessage, Page} from 'puppeteer-core';
import {ROOT} from '../guides.js';
import {browserOf, requireBrowser, type BrowserName} from './browsers.js';
import {bundleOf, type BundledFunctions} from './bundle.js';
import {Site, type SiteOptions} from './site.js';

export interface PageOptions extends Omit<SiteOptions, 'folders'> {
  readonly browser?: BrowserName;
  /** As a function: of folders that the suite's earlier hooks make. */
  readonly folders?: SiteOptions['folders'] | (() => SiteOptions['folders']);
}

/** The site and the page of a suite; there from its first `before` hook on. */
export interface PageUnderTest {
  readonly site: Site;
  readonly page: Page;
  /**
   * The exported functions of a file, to be called as in Node; they run in the page. The module is loaded once a page.
   *
   * @param file From the root of the repository.
   */
  readonly in: <Entry>(file: string) => BundledFunctions<Entry>;
  /** As {@link in}, in a module worker that each call starts and ends. */
  readonly inWorker: <Entry>(file: string) => BundledFunctions<Entry>;
  /** What the page has reported as errors, which the spec then has looked at: they do not fail it. */
  readonly takeErrors: () => string[];
  /** Another page of the same site, as a second tab; it is closed after the suite. */
  readonly openTab: (path?: string) => Promise<Page>;
}

/** For what a page shows or loads, on a machine that does much else. */
const WAIT_MS = 120_000;

const BLANK = '<!doctype html><html lang="en"><title>spec</title></html>';

/** A module worker that calls one function of a module and posts what it gives. */
const WORKER = `
self.onmessage = async ({data: {url, name, args}}) => {
  try {
    const entry = await import(url);
    self.postMessage({value: JSON.stringify((await entry[name](...args)) ?? null)});
  } catch (error) {
    self.postMessage({error: error.stack ?? String(error)});
  }
};`;

/**
 * Opens a site and a page for the specs of a `describe`, in which it is called. The site serves `node_modules`, and an empty
 * page at its root unless a folder is served there.
 */
export function inBrowser({browser = 'chrome', ...options}: PageOptions = {}): PageUnderTest {
  let site: Site;
  let page: Page;
  let errors: string[] = [];
  const tabs: Page[] = [];
  const bundled = new Map<string, string>();

  const openTab = async (path = '/'): Promise<Page> => {
    const tab = await (await browserOf(browser)).newPage();
    tabs.push(tab);
    tab.setDefaultTimeout(WAIT_MS);
    tab.on('pageerror', (error) => errors.push((error as Error).stack ?? String(error)));
    tab.on('console', (message) => {
      const isIcon = message.location().url?.endsWith('/favicon.ico'); // asked for by the browser, not by the page
      if (message.type() === 'error' && isIcon !== true) errors.push(textOf(message));
    });
    await tab.goto(site.url + path);
    return tab;
  };
  const urlOfBundle = async (file: string): Promise<string> => {
    const known = bundled.get(file);
    if (known !== undefined) return known;
    const url = `/bundles/${file.replace(/\.ts$/, '.js')}`;
    site.put(url, await bundleOf(file));
    bundled.set(file, url);
    return url;
  };
  const functionsOf = <Entry>(call: (name: string, args: readonly unknown[]) => Promise<unknown>) =>
    new Proxy({} as BundledFunctions<Entry>, {
      get:
        (_, name) =>
        (...args: readonly unknown[]) =>
          call(String(name), args),
    });
  // As text: what compiles the specs adds calls of its own to functions, which a page does not have.
  const evaluate = async (code: string): Promise<unknown> =>
    JSON.parse((await page.evaluate(`(async () => {${code}})()`)) as string);

  before(async function () {
    requireBrowser(browser, this);
    const own = typeof options.folders === 'function' ? options.folders() : options.folders;
    const folders = {'/node_modules': join(ROOT, 'node_modules'), ...own};
    site = await Site.open({...options, folders});
    if (!('/' in folders)) site.put('/', BLANK);
    site.put('/spec-worker.js', WORKER);
    page = await openTab();
  });
  afterEach(() => {
    const reported = errors;
    errors = [];
    if (reported.length > 0) throw new Error(`the page reported: ${reported.join('\n')}`);
  });
  after(async () => {
    for (const tab of tabs) if (!tab.isClosed()) await tab.close();
    await site?.close();
  });

  return {
    get site() {
      return site;
    },
    get page() {
      return page;
    },
    in: <Entry>(file: string) =>
      functionsOf<Entry>(async (name, args) =>
        evaluate(`
          const entry = await import(${JSON.stringify(await urlOfBundle(file))});
          const value = await entry[${JSON.stringify(name)}](...${JSON.stringify(args)});
          return JSON.stringify(value ?? null);`),
      ),
    inWorker: <Entry>(file: string) =>
      functionsOf<Entry>(async (name, args) =>
        evaluate(`
          const worker = new Worker('/spec-worker.js', {type: 'module'});
          try {
            const answer = new Promise((resolve, reject) => {
              worker.onmessage = ({data: {value, error}}) =>
                error === undefined ? resolve(value) : reject(new Error(error));
              worker.onerror = ({message}) => reject(new Error('the worker could not be started: ' + message));
            });
            worker.postMessage(${JSON.stringify({url: await urlOfBundle(file), name, args})});
            return await answer;
          } finally {
            worker.terminate();
          }`),
      ),
    takeErrors() {
      const taken = errors;
      errors = [];
      return taken;
    },
    openTab,
  };
}

function textOf(message: ConsoleMessage): string {
  const {url, lineNumber} = message.location();
  return `${message.text()}${url === undefined ? '' : ` (${url}${lineNumber === undefined ? '' : `:${lineNumber}`})`}`;
}
