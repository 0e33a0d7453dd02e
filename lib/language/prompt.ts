/** @file Prompts and texts as the ids that a model takes: encoded by its tokenizer, and checked against its vocabulary. */
import {SparsifyError} from '../errors.js';
import type {LlamaConfig} from './config/llama-config.js';
import {applyChatTemplate, type ChatMessage} from './tokenizer/chat.js';
import type {LlamaTokenizer} from './tokenizer/tokenizer.js';
import {detokenize, isWikiText} from './evaluation/wikitext.js';

/** Text, a conversation, or token ids as the model takes them. */
export type Prompt = string | readonly ChatMessage[] | readonly number[];

/** Encodes for one model. */
export class PromptEncoder {
  /** @param tokenizer Null if the checkpoint had none: only ids are taken then. */
  constructor(
    private readonly config: LlamaConfig,
    private readonly tokenizer: LlamaTokenizer | null,
  ) {}

  /**
   * The ids of a prompt.
   *
   * @throws {SparsifyError} `empty-prompt`, `bad-token`, `prompt-too-long` if no room is left for an answer,
   *   `no-tokenizer`; {ModelError} as `applyChatTemplate`.
   */
  encodePrompt(prompt: Prompt): readonly number[] {
    const ids = this.toIds(prompt);
    if (ids.length === 0) {
      throw new SparsifyError(
        'empty-prompt',
        'the prompt has no tokens: give text, or at least one token id',
      );
    }
    this.checkIds(ids, this.config.contextLength - 1);
    return ids;
  }

  /**
   * The ids of a text without special tokens, or of each of several.
   *
   * @param text Raw WikiText is detokenised; or token ids.
   * @throws {SparsifyError} `no-tokenizer`, `bad-token`.
   */
  idsOf(text: string | readonly string[] | readonly number[]): (readonly number[])[] {
    if (typeof text !== 'string' && isIds(text)) {
      this.checkIds(text, Infinity);
      return [text];
    }
    const tokenizer = this.needTokenizer('calibration on text');
    const texts = typeof text === 'string' ? [text] : text;
    return texts.map((one) => tokenizer.encode(isWikiText(one) ? detokenize(one) : one));
  }

  /** @throws {SparsifyError} `bad-token` for what is no id of the model, `prompt-too-long` for more than `most`. */
  checkIds(ids: readonly number[], most: number): void {
    const {vocabularySize, contextLength} = this.config;
    const bad = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabularySize));
    if (bad !== undefined) {
      throw new SparsifyError(
        'bad-token',
        `${bad} is no token id of this model; ids are whole numbers from 0 to ${vocabularySize - 1}`,
        {got: bad, vocabularySize},
      );
    }
    if (ids.length <= most) return;
    throw new SparsifyError(
      'prompt-too-long',
      `the prompt has ${ids.length} tokens; the model's context holds ${contextLength}, one of them for the ` +
        'answer: shorten it, or leave out the earliest messages of the conversation',
      {tokens: ids.length, contextLength},
    );
  }

  /**
   * @param what What it is needed for, for the error.
   * @throws {SparsifyError} `no-tokenizer`.
   */
  needTokenizer(what: string): LlamaTokenizer {
    if (this.tokenizer !== null) return this.tokenizer;
    throw new SparsifyError(
      'no-tokenizer',
      `${what} needs a tokenizer, and the checkpoint had none: give token ids, or load a folder with tokenizer.json`,
    );
  }

  private toIds(prompt: Prompt): readonly number[] {
    if (typeof prompt === 'string')
      return this.needTokenizer('a prompt of text').encode(prompt, {addSpecialTokens: true});
    if (isIds(prompt)) return prompt;
    const tokenizer = this.needTokenizer('a conversation');
    return tokenizer.encode(applyChatTemplate(tokenizer.source, prompt));
  }
}

function isIds(prompt: readonly (ChatMessage | string)[] | readonly number[]): prompt is readonly number[] {
  return prompt.every((entry) => typeof entry === 'number');
}
