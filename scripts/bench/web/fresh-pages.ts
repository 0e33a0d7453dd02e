/** @file What a page takes that loads a model from its cache: the renderer's memory, and the time to the first token. */
import {median} from '../../../lib/eval/latency.js';
import {BenchBrowser, type BenchPage, type ProcessMemory} from './bench-page.js';
import type * as own from './in-page/own-model.js';
import type * as wllama from './in-page/wllama.js';
import {URLS, type Prompts, type Sides} from './sides.js';

const THREADS = 2;
const PROMPT = 48;
const TOKENS = 33;
/** The first token's time is that of loading. */
const SHORT_PROMPT = 4;

export interface MemoryRow {
  readonly side: string;
  readonly privateBytes: number;
  readonly residentBytes: number;
}

export interface LoadRow {
  readonly side: string;
  readonly firstTokenMs: number;
  /** Of our row: what wllama takes over what ours takes. */
  readonly vsWllama: number | null;
}

type AnyPage = BenchPage<typeof own> | BenchPage<typeof wllama>;

/** Each side in a browser of its own with one page, which has loaded the model before. */
interface Contestant {
  readonly side: string;
  readonly url: string;
  readonly browser: BenchBrowser;
  readonly page: AnyPage;
}

/** Runs `work` with all sides, whose caches are filled. */
async function withContestants<T>(
  sides: Sides,
  work: (contestants: readonly Contestant[]) => Promise<T>,
): Promise<T> {
  const contestants: Contestant[] = [];
  const add = async (side: string, url: string, file: string) => {
    console.error(`storing the model of ${side} in a browser`);
    const browser = await BenchBrowser.open(sides.folders);
    const page = await browser.page<typeof own>(`scripts/bench/web/in-page/${file}`);
    contestants.push({side, url, browser, page});
    await page.calls.load(url, THREADS);
  };
  try {
    await add('ours INT8', URLS.own, 'own-model.ts');
    if ('folder' in sides.wllama) await add('wllama Q8_0', URLS.gguf('Q8_0'), 'wllama.ts');
    return await work(contestants);
  } finally {
    for (const {browser} of contestants) await browser.close();
  }
}

/** Memory of the renderer while it has decoded, of a page that has loaded the model from its cache. */
export function measureMemory(sides: Sides, prompts: Prompts, rounds: number): Promise<MemoryRow[]> {
  return withContestants(sides, async (contestants) => {
    const figures = contestants.map((): ProcessMemory[] => []);
    for (let round = 0; round < rounds; round++) {
      console.error(`memory: round ${round + 1} of ${rounds}`);
      for (const [i, {browser, page, url}] of contestants.entries()) {
        await page.reload();
        await page.calls.load(url, THREADS);
        await page.calls.decode(prompts.next(PROMPT), TOKENS);
        const memory = browser.rendererMemory();
        if (memory !== null) figures[i].push(memory);
      }
    }
    return contestants.flatMap(({side}, i) =>
      figures[i].length === 0
        ? [] // the system does not tell
        : {
            side,
            privateBytes: median(figures[i].map(({privateBytes}) => privateBytes)),
            residentBytes: median(figures[i].map(({residentBytes}) => residentBytes)),
          },
    );
  });
}

/** Time to the first token of a page that loads the model from its cache; the modules are loaded before. */
export function measureLoad(sides: Sides, prompts: Prompts, rounds: number): Promise<LoadRow[]> {
  return withContestants(sides, async (contestants) => {
    const figures = contestants.map((): number[] => []);
    for (let round = -1; round < rounds; round++) {
      console.error(round < 0 ? 'load: warming up' : `load: round ${round + 1} of ${rounds}`);
      for (const [i, {page, url}] of contestants.entries()) {
        await page.reload();
        const took = await page.calls.firstToken(url, prompts.next(SHORT_PROMPT), THREADS);
        if (round >= 0) figures[i].push(took);
      }
    }
    const medians = figures.map(median);
    return contestants.map(({side}, i) => ({
      side,
      firstTokenMs: medians[i],
      vsWllama: i === 0 && medians.length > 1 ? medians[1] / medians[0] : null,
    }));
  });
}
