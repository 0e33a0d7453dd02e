/** @file Decoding and prompts in a page: every side has a page of its own, and they take turns. */
import {median} from '../../../lib/eval/latency.js';
import {BenchBrowser, type BenchPage} from './bench-page.js';
import type * as onnxruntime from './in-page/onnxruntime.js';
import type * as own from './in-page/own-model.js';
import type * as wllama from './in-page/wllama.js';
import {stepInputs} from './onnx-step.js';
import {CONTEXT, FORMATS, URLS, type Prompts, type Sides} from './sides.js';

/** Tokens that are decoded, of which the first belongs to the prompt: on average they follow CONTEXT tokens. */
const TOKENS = 33;
const SHORT_PROMPT = CONTEXT - (TOKENS - 1) / 2;
const LONG_PROMPT = 256;
const STEPS = 24;
/** An end token after fewer than these says little of the speed. */
const FEW_TOKENS = 16;
const ATTEMPTS = 8;

const THREADS = [1, 2] as const;
/** With which a prompt is read. */
const PROMPT_THREADS = 2;

export interface DecodeRow {
  readonly side: string;
  readonly threads: number;
  readonly tokensPerSecond: number;
  /** Of our rows: over the fastest of wllama with as many threads or fewer; null without it, and in rows of peers. */
  readonly vsWllama: number | null;
  readonly vsOnnxruntime: number | null;
  /** Of our sparse rows: over our dense row with the same threads. */
  readonly vsOwnDense: number | null;
}

export interface PromptRow {
  readonly side: string;
  readonly threads: number;
  readonly tokensPerSecond: number;
  readonly vsWllama: number | null;
}

/** One side, or one setting of it. */
interface Contestant {
  readonly side: string;
  readonly threads: number;
  readonly kind: 'own' | 'wllama' | 'onnxruntime';
  readonly sparsity: number;
  /** Tokens a second. */
  readonly decode: (prompts: Prompts) => Promise<number>;
  /** Tokens a second of a prompt, where that is measured. */
  readonly readPrompt?: (prompts: Prompts) => Promise<number>;
}

/** Measures decoding, prompts or both. */
export async function measureDecoding(
  sides: Sides,
  prompts: Prompts,
  rounds: number,
  wanted: {readonly decode: boolean; readonly prompt: boolean},
): Promise<{browser: string; decode: DecodeRow[]; prompt: PromptRow[]}> {
  const browser = await BenchBrowser.open(sides.folders);
  try {
    const contestants = await loadAll(browser, sides, wanted.decode);
    const decodes = contestants.map((): number[] => []);
    const reads = contestants.map((): number[] => []);
    for (let round = -1; round < rounds; round++) {
      console.error(
        round < 0 ? 'decode and prompt: warming up' : `decode and prompt: round ${round + 1} of ${rounds}`,
      );
      for (const [i, contestant] of contestants.entries()) {
        if (wanted.decode) {
          const figure = await contestant.decode(prompts);
          if (round >= 0) decodes[i].push(figure);
        }
        if (wanted.prompt && contestant.readPrompt !== undefined) {
          const figure = await contestant.readPrompt(prompts);
          if (round >= 0) reads[i].push(figure);
        }
      }
    }
    return {
      browser: await browser.version(),
      decode: wanted.decode ? decodeRows(contestants, decodes) : [],
      prompt: wanted.prompt ? promptRows(contestants, reads) : [],
    };
  } finally {
    await browser.close();
  }
}

async function loadAll(browser: BenchBrowser, sides: Sides, forDecoding: boolean): Promise<Contestant[]> {
  const counts = forDecoding ? THREADS : [PROMPT_THREADS];
  const contestants: Contestant[] = [];
  for (const threads of counts) {
    console.error(`loading ours, ${threads === 1 ? '1 thread' : `${threads} threads`}`);
    const page = await browser.page<typeof own>('scripts/bench/web/in-page/own-model.ts');
    const loaded = await page.calls.load(URLS.own, threads);
    if (loaded.threads !== threads) throw new Error(`ours has ${loaded.threads} threads: ${loaded.why}`);
    for (const sparsity of [0, 0.5]) contestants.push(ownContestant(page, threads, sparsity));
  }
  if ('folder' in sides.wllama) {
    for (const format of FORMATS) {
      for (const threads of counts) {
        console.error(`loading wllama, ${format}, ${threads === 1 ? '1 thread' : `${threads} threads`}`);
        const page = await browser.page<typeof wllama>('scripts/bench/web/in-page/wllama.ts');
        await page.calls.load(URLS.gguf(format), threads);
        contestants.push({
          ...{side: `wllama ${format}`, kind: 'wllama', threads, sparsity: 0},
          decode: async (prompts) =>
            (await page.calls.decode(prompts.next(SHORT_PROMPT), TOKENS)).tokensPerSecond,
          readPrompt: readerOf(page, threads),
        });
      }
    }
  }
  if (forDecoding && 'folder' in sides.onnxruntime) {
    for (const threads of counts) {
      console.error(`loading onnxruntime-web, ${threads === 1 ? '1 thread' : `${threads} threads`}`);
      const page = await browser.page<typeof onnxruntime>('scripts/bench/web/in-page/onnxruntime.ts');
      await page.calls.load(URLS.onnx, threads);
      const {floats, integers} = stepInputs(sides.config, CONTEXT);
      contestants.push({
        ...{side: 'onnxruntime-web INT8', kind: 'onnxruntime', threads, sparsity: 0},
        decode: async () => 1000 / (await page.calls.step(floats, integers, STEPS)),
      });
    }
  }
  return contestants;
}

function ownContestant(page: BenchPage<typeof own>, threads: number, sparsity: number): Contestant {
  return {
    ...{side: `ours INT8 ${sparsity === 0 ? 'dense' : '50 %'}`, kind: 'own', threads, sparsity},
    decode: async (prompts) => {
      await page.calls.setSparsity(sparsity);
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const {tokens, tokensPerSecond} = await page.calls.decode(prompts.next(SHORT_PROMPT), TOKENS);
        if (tokens >= FEW_TOKENS) return tokensPerSecond;
      }
      throw new Error(`ours ended after fewer than ${FEW_TOKENS} tokens, ${ATTEMPTS} times`);
    },
    // A prompt is computed dense at any sparsity.
    ...(sparsity === 0 ? {readPrompt: readerOf(page, threads)} : {}),
  };
}

function readerOf(
  page: BenchPage<typeof own> | BenchPage<typeof wllama>,
  threads: number,
): Contestant['readPrompt'] {
  if (threads !== PROMPT_THREADS) return undefined;
  return async (prompts) => {
    const {promptMs, promptTokens} = await page.calls.decode(prompts.next(LONG_PROMPT), 1);
    return (1000 * promptTokens) / promptMs;
  };
}

function decodeRows(contestants: readonly Contestant[], figures: readonly number[][]): DecodeRow[] {
  const medians = figures.map(median);
  /** The fastest of a kind with so many threads or fewer; NaN if there is none. */
  const fastest = (kind: Contestant['kind'], threads: number) => {
    const of = medians.filter((_, i) => contestants[i].kind === kind && contestants[i].threads <= threads);
    return of.length === 0 ? NaN : Math.max(...of);
  };
  return contestants.map(({side, threads, kind, sparsity}, i) => {
    const dense = contestants.findIndex(
      (other) => other.kind === 'own' && other.threads === threads && other.sparsity === 0,
    );
    const isOurs = kind === 'own';
    return {
      ...{side, threads, tokensPerSecond: medians[i]},
      vsWllama: isOurs ? ratio(medians[i], fastest('wllama', threads)) : null,
      vsOnnxruntime: isOurs ? ratio(medians[i], fastest('onnxruntime', threads)) : null,
      vsOwnDense: isOurs && sparsity > 0 ? ratio(medians[i], medians[dense]) : null,
    };
  });
}

function promptRows(contestants: readonly Contestant[], figures: readonly number[][]): PromptRow[] {
  const measured = contestants.flatMap(({side, threads, kind, readPrompt}, i) =>
    readPrompt === undefined
      ? []
      : [
          {
            side: kind === 'own' ? 'ours INT8' : side,
            threads,
            kind,
            tokensPerSecond: median(figures[i]),
          },
        ],
  );
  const peers = measured.filter(({kind}) => kind === 'wllama');
  const best = Math.max(...peers.map(({tokensPerSecond}) => tokensPerSecond));
  return measured.map(({kind, ...row}) => ({
    ...row,
    vsWllama: kind === 'own' && peers.length > 0 ? ratio(row.tokensPerSecond, best) : null,
  }));
}

function ratio(mine: number, theirs: number): number | null {
  return Number.isNaN(theirs) ? null : mine / theirs;
}
