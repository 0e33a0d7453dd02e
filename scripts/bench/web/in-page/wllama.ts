/** @file wllama in a page: llama.cpp in WebAssembly, on the processor, by its own clock. */
import type {BenchPrompt} from '../sides.js';
import type {Decoded} from './own-model.js';

/** Of the package, what is used here: it is no dependency, and the site serves it. */
interface Wllama {
  loadModelFromUrl(url: string, options: object): Promise<void>;
  createCompletion(options: object): Promise<Completion>;
  getNumThreads(): number;
}

interface Completion {
  readonly timings?: {
    readonly prompt_n: number;
    readonly prompt_ms: number;
    readonly predicted_n: number;
    readonly predicted_per_second: number;
  };
}

interface WllamaModule {
  readonly Wllama: new (paths: {default: string}, config: object) => Wllama;
}

const FOLDER = '/peers/wllama';

/** Enough for a prompt of 256 and what is decoded. One sequence; nothing on a GPU. */
const OPTIONS = {n_ctx: 512, n_parallel: 1, n_gpu_layers: 0};

let wllama: Wllama | undefined;

/** Loads a GGUF file; from wllama's own cache where it has been before. */
export async function load(url: string, threads: number): Promise<{threads: number}> {
  const path = `${FOLDER}/index.js`;
  const {Wllama} = (await import(path)) as WllamaModule;
  wllama = new Wllama({default: `${FOLDER}/wasm/wllama.wasm`}, {suppressNativeLog: true});
  await wllama.loadModelFromUrl(new URL(url, location.href).href, {...OPTIONS, n_threads: threads});
  return {threads: wllama.getNumThreads()};
}

/** Decodes greedily on past end tokens; the prompt is computed anew every time. */
export async function decode({text}: BenchPrompt, tokens: number): Promise<Decoded> {
  const {timings} = await wllama!.createCompletion({
    ...{prompt: text, max_tokens: tokens, temperature: 0},
    ...{ignore_eos: true, cache_prompt: false},
  });
  if (timings === undefined) throw new Error('wllama gave no times');
  return {
    promptTokens: timings.prompt_n,
    promptMs: timings.prompt_ms,
    tokensPerSecond: timings.predicted_per_second,
    tokens: timings.predicted_n,
  };
}

/** From the call of a page that has loaded its modules to the first token, ms. */
export async function firstToken(url: string, prompt: BenchPrompt, threads: number): Promise<number> {
  await import(`${FOLDER}/index.js`);
  const start = performance.now();
  await load(url, threads);
  await decode(prompt, 1);
  return performance.now() - start;
}
