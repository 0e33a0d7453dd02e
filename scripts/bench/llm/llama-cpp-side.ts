/** @file The process of a llama.cpp side. Arguments: entry file of node-llama-cpp, GGUF file, threads. */
import {pathToFileURL} from 'node:url';
import {serveSide, type Work} from './side.js';

/** What is used of node-llama-cpp. */
interface LlamaCpp {
  readonly getLlama: (options: object) => Promise<{
    loadModel(options: {modelPath: string}): Promise<{
      createContext(options: object): Promise<{getSequence(): Sequence}>;
    }>;
  }>;
}

interface Sequence {
  clearHistory(): Promise<void>;
  evaluateWithoutGeneratingNewTokens(tokens: readonly number[]): Promise<void>;
  evaluate(tokens: readonly number[], options: object): AsyncGenerator<number>;
}

/** The bench's largest prompt. */
const CONTEXT = 1024;

const [entry, modelPath, threadsText] = process.argv.slice(2);
await serveSide(load);

async function load(): Promise<Work> {
  const {getLlama} = (await import(pathToFileURL(entry).href)) as LlamaCpp;
  const threads = Number(threadsText);
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    maxThreads: threads,
    logLevel: 'error',
    progressLogs: false,
  });
  const model = await llama.loadModel({modelPath});
  const context = await model.createContext({contextSize: CONTEXT, batchSize: 512, threads});
  const sequence = context.getSequence();
  return async ({prompt, tokens}) => {
    await sequence.clearHistory();
    const start = performance.now();
    if (tokens === 0) {
      await sequence.evaluateWithoutGeneratingNewTokens(prompt);
      return {promptMs: performance.now() - start, decodeMs: 0, ids: []};
    }
    await sequence.evaluateWithoutGeneratingNewTokens(prompt.slice(0, -1));
    const ids: number[] = [];
    let first = start;
    for await (const id of sequence.evaluate(prompt.slice(-1), {temperature: 0, yieldEogToken: true})) {
      if (ids.length === 0) first = performance.now();
      ids.push(id);
      if (ids.length === tokens) break;
    }
    return {promptMs: first - start, decodeMs: performance.now() - first, ids};
  };
}
