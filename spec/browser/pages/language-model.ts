/** @file What the specs of language models do in a page, with one model at a time. */
import {loadLanguageModel, type LoadInPageOptions, type PageLanguageModel} from '../../../lib/language/browser.js';
import type {Prompt} from '../../../lib/language/prompt.js';
import type {GenerateOptions} from '../../../lib/language/decoding/generate.js';

let model: PageLanguageModel | null = null;

export async function load(source: string, options: LoadInPageOptions = {}) {
  model?.dispose();
  model = await loadLanguageModel(source, options);
  const {config, hasTokenizer, backend} = model;
  return {config, hasTokenizer, backend};
}

export async function generate(prompt: Prompt, options: GenerateOptions) {
  return model!.generate(prompt, options);
}

export async function stream(prompt: Prompt, options: GenerateOptions, most = Infinity) {
  const tokens: (number | null)[] = [];
  let text = '';
  for await (const token of model!.stream(prompt, options)) {
    tokens.push(token.id);
    text += token.text;
    if (tokens.length === most) break;
  }
  return {tokens, text};
}
