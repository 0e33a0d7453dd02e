/** @file The models of the sides that decode in a page, made where they are missing, and the folders that a site serves. */
import {existsSync, readFileSync} from 'node:fs';
import {basename, join} from 'node:path';
import type {LlamaConfig} from '../../../lib/language/config/llama-config.js';
import {fetchModel} from '../../../lib/language/import/fetch.js';
import {openCheckpoint} from '../../../lib/language/import/open-checkpoint.js';
import {loadLanguageModel} from '../../../lib/language/index.js';
import type {LlamaTokenizer} from '../../../lib/language/tokenizer/tokenizer.js';
import {cacheFolder} from '../../../lib/provision/cache.js';
import {inRoot} from '../../set-up/repository.mjs';
import {smollm2Int8} from '../../web/chat-model.js';
import {copyGguf} from '../llm/gguf-copy.js';
import {writeOnnxStep} from './onnx-step.js';
import {findPeer, type Peer} from './peers.js';

/** Places in the cache of the step that onnxruntime-web computes. */
export const CONTEXT = 64;

/** What wllama decodes: the weights that ours were made of, as they are and in 8 bits. */
export const FORMATS = ['Q8_0', 'Q4_1'] as const;
export type Format = (typeof FORMATS)[number];

/** Where a page finds what it loads. */
export const URLS = {
  own: '/models/own/model.json',
  onnx: '/models/step/step.onnx',
  gguf: (format: Format) => `/models/gguf/${format}.gguf`,
} as const;

export interface Sides {
  readonly config: LlamaConfig;
  /** Of our model, in INT8 with thresholds. */
  readonly folder: string;
  readonly wllama: Peer;
  readonly onnxruntime: Peer;
  /** For {@link BenchBrowser.open}. */
  readonly folders: Readonly<Record<string, string>>;
}

/** Makes what is missing, and says in a line which peer cannot be had. */
export async function prepareSides(): Promise<Sides> {
  const gguf = await fetchModel('smollm2-135m-instruct');
  const checkpoint = await openCheckpoint(gguf);
  const {config} = checkpoint;
  await checkpoint.close();
  const own = await smollm2Int8();
  if ('reason' in own) throw new Error(own.reason);
  const wllama = await findPeer('wllama');
  const onnxruntime = await findPeer('onnxruntime');
  for (const peer of [wllama, onnxruntime])
    if ('reason' in peer) console.error(`going on without ${peer.name}: ${peer.reason}`);
  const files: Record<string, string> = {[URLS.gguf('Q4_1')]: gguf};
  if ('folder' in wllama) {
    const eights = join(cacheFolder(), `bench-${basename(gguf, '.gguf')}-Q8_0.gguf`);
    if (!existsSync(eights)) {
      console.error('writing the weights in Q8_0 for wllama');
      await copyGguf(gguf, eights, 'Q8_0');
    }
    files[URLS.gguf('Q8_0')] = eights;
  }
  if ('folder' in onnxruntime) {
    const step = join(cacheFolder(), 'bench-smollm2-step-int8-1.onnx');
    if (!existsSync(step)) await writeOnnxStep(step, config, CONTEXT);
    files[URLS.onnx] = step;
  }
  const folders: Record<string, string> = {
    '/node_modules': inRoot('node_modules'),
    '/models/own': own.folder,
    ...files, // a file stands for a folder with nothing behind its name
  };
  if ('folder' in wllama) folders['/peers/wllama'] = wllama.folder;
  if ('folder' in onnxruntime) folders['/peers/onnxruntime'] = onnxruntime.folder;
  return {config, folder: own.folder, wllama, onnxruntime, folders};
}

/** A prompt of so many tokens. */
export interface BenchPrompt {
  readonly ids: readonly number[];
  readonly text: string;
}

/** Real text, cut anew for every prompt, so that no cache of a side shortens the work. */
export class Prompts {
  private at = 0;

  private constructor(
    private readonly ids: readonly number[],
    private readonly tokenizer: LlamaTokenizer,
  ) {}

  /** By the tokenizer of the model in a folder. */
  static async open(folder: string): Promise<Prompts> {
    const lm = await loadLanguageModel(folder);
    const {tokenizer} = lm;
    lm.dispose();
    if (tokenizer === null) throw new Error(`${folder} has no tokenizer`);
    const text = readFileSync(inRoot('models', 'smollm2', 'wikitext-2-test.txt'), 'utf8').slice(0, 400_000);
    return new Prompts(tokenizer.encode(text), tokenizer);
  }

  next(length: number): BenchPrompt {
    if (this.at + length > this.ids.length) this.at = 0;
    this.at += length;
    const ids = this.ids.slice(this.at - length, this.at);
    return {ids, text: this.tokenizer.decode(ids)};
  }
}
