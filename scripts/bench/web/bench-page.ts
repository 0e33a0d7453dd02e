/** @file Pages of a benchmark, in headless Chromium, from a site on loopback that sends COOP and COEP. */
import {readFileSync, readdirSync} from 'node:fs';
import {launch, type Browser, type Page} from 'puppeteer-core';
import {bundleOf, type BundledFunctions} from '../../../spec/support/browser/bundle.js';
import {Site} from '../../../spec/support/browser/site.js';
import {ensureBrowsers, findBrowser} from '../../set-up/browser.js';

const BLANK = '<!doctype html><html lang="en"><title>bench</title></html>';

/** A measurement of a minute is one call. */
const CALL_MS = 15 * 60_000;

/** The browser and the site of one run. */
export class BenchBrowser {
  private constructor(
    private readonly browser: Browser,
    private readonly site: Site,
  ) {}

  /**
   * @param folders By the path that they are served under.
   * @throws {Error} If there is no Chromium.
   */
  static async open(folders: Readonly<Record<string, string>>): Promise<BenchBrowser> {
    if (findBrowser('chrome') === undefined) await ensureBrowsers();
    const executablePath = findBrowser('chrome');
    if (executablePath === undefined)
      throw new Error('there is no Chromium: install one, or set CHROME_PATH to its program');
    // The sandbox refuses root, which containers often run as; their shared memory is often too small for a page.
    const forRoot = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    const browser = await launch({
      ...{executablePath, pipe: true, protocolTimeout: CALL_MS},
      args: [...forRoot, '--disable-dev-shm-usage'],
    });
    const site = await Site.open({folders});
    site.put('/', BLANK);
    return new BenchBrowser(browser, site);
  }

  /** Name and version. */
  version(): Promise<string> {
    return this.browser.version();
  }

  /**
   * Opens a page.
   *
   * @param file From the root of the repository; what it exports can be called.
   */
  async page<Entry>(file: string): Promise<BenchPage<Entry>> {
    const path = `/bundles/${file.replace(/\.ts$/, '.js')}`;
    this.site.put(path, await bundleOf(file));
    const page = await this.browser.newPage();
    await page.goto(this.site.url);
    return new BenchPage<Entry>(page, this.site.url, path);
  }

  /** Of the renderer that has most: meant for a browser with one page. Null where the system has no smaps_rollup. */
  rendererMemory(): ProcessMemory | null {
    const all = this.renderers().flatMap((pid) => {
      const text = textOf(`/proc/${pid}/smaps_rollup`);
      const bytes = (field: string) => Number(new RegExp(`^${field}:\\s*(\\d+)`, 'm').exec(text)?.[1]) * 1024;
      if (text === '') return [];
      return {
        residentBytes: bytes('Rss'),
        privateBytes: bytes('Private_Clean') + bytes('Private_Dirty'),
      };
    });
    return all.sort((a, b) => b.privateBytes - a.privateBytes)[0] ?? null;
  }

  async close(): Promise<void> {
    await this.browser.close();
    await this.site.close();
  }

  /** The renderer processes of this browser, where /proc lists processes; none elsewhere. */
  private renderers(): number[] {
    const root = this.browser.process()?.pid;
    if (process.platform !== 'linux' || root === undefined) return [];
    const parents = new Map<number, number>();
    for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      const parent = /\) \S (\d+)/.exec(textOf(`/proc/${entry}/stat`))?.[1];
      if (parent !== undefined) parents.set(Number(entry), Number(parent));
    }
    const isOurs = (pid: number): boolean => {
      for (let at: number | undefined = pid; at !== undefined && at > 1; at = parents.get(at))
        if (at === root) return true;
      return false;
    };
    return [...parents.keys()].filter(
      (pid) => textOf(`/proc/${pid}/cmdline`).includes('--type=renderer') && isOurs(pid),
    );
  }
}

/** Memory of a process, bytes. */
export interface ProcessMemory {
  /** What it has in RAM, the program's own pages that all processes of the browser share among it. */
  readonly residentBytes: number;
  /** Of these what no other process has. */
  readonly privateBytes: number;
}

/** A page, and the calls of its module. */
export class BenchPage<Entry> {
  constructor(
    private readonly page: Page,
    private readonly url: string,
    private readonly path: string,
  ) {}

  /** The functions of the module; it is loaded once a page. */
  readonly calls: BundledFunctions<Entry> = new Proxy({} as BundledFunctions<Entry>, {
    get:
      (_, name) =>
      (...args: readonly unknown[]) =>
        this.call(String(name), args),
  });

  /** Loads the page anew, in another process: what it had in memory is gone, what it stored is not. */
  async reload(): Promise<void> {
    await this.page.goto(this.url.replace('127.0.0.1', 'localhost')); // another site, which has a process of its own
    await this.page.goto(this.url);
  }

  async close(): Promise<void> {
    await this.page.close();
  }

  // As text: what compiles this file adds calls of its own to functions, which a page does not have.
  private async call(name: string, args: readonly unknown[]): Promise<unknown> {
    const code = `(async () => {
      const entry = await import(${JSON.stringify(this.path)});
      return JSON.stringify((await entry[${JSON.stringify(name)}](...${JSON.stringify(args)})) ?? null);
    })()`;
    return JSON.parse((await this.page.evaluate(code)) as string);
  }
}

/** Empty if the file cannot be read: a process may have ended. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
