/** @file Language models of the tiny checkpoint `llama3-gqa-rope`, text that they know, and how a call failed. */
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {SparsifyError} from '../../../lib/errors.js';
import {seededRandom} from '../../../lib/stats/seeded-random.js';
import {loadLanguageModel, type LanguageModel} from '../../../lib/language/index.js';
import {BACKENDS} from '../backends.js';
import {tinyFolder} from './tiny-checkpoints.js';

export const TINY_LANGUAGE_MODEL = 'llama3-gqa-rope';

/** A short WikiText of two articles. */
export const WIKI = [
  '\n = First = \n\n It @-@ is , all in all , " an article " .\n',
  '\n = Second = \n\n Another one , of 1 @,@ 000 words ; no more .\n',
].join('\n');

/** The tiny model with a byte-level tokenizer, on the fastest backend. The caller disposes it. */
export async function loadTiny(): Promise<LanguageModel> {
  return load(join(tinyFolder(TINY_LANGUAGE_MODEL), 'model-f32.gguf'));
}

/** As `loadTiny`, without tokenizer. */
export async function loadTinyWithoutTokenizer(): Promise<LanguageModel> {
  return load(tinyFolder(TINY_LANGUAGE_MODEL));
}

async function load(path: string): Promise<LanguageModel> {
  await tf.setBackend(BACKENDS[BACKENDS.length - 1]);
  const lm = await loadLanguageModel(path);
  // The kept cache is memory too: start with one.
  await lm.generate([1], {maxTokens: 1});
  return lm;
}

/** Ids without control tokens, which would end a text. */
export function printableIds(count: number, seed: number): number[] {
  const uniform = seededRandom(seed);
  return Array.from({length: count}, () => 32 + Math.floor(90 * uniform()));
}

/** Printable text of as many tokens as characters. */
export function printableText(length: number, seed: number): string {
  return String.fromCharCode(...printableIds(length, seed));
}

/** The code of the error that `work` ends with, or its name if it is not one of this package's. */
export async function failureCode(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
  } catch (error) {
    if (error instanceof SparsifyError) return error.code;
    if (error instanceof Error) return error.name;
  }
  return 'nothing';
}
