/**
 * @file A language model for use: the LayersModel with its tokenizer, text in and text out, scores. Runs on every
 * backend, in browsers too; loading checkpoints and saving to folders is in load-language-model.ts.
 */
import type * as tf from '@tensorflow/tfjs';
import type {Progress} from '../../lib/calibration/run.js';
import type {Batches} from '../../lib/dataset.js';
import {ModelError, SparsifyError} from '../../lib/errors.js';
import type {LlamaConfig} from './config.js';
import {createDecoder} from './create-decoder.js';
import type {Decoder} from './decoder.js';
import {DecoderSession} from './decoder-session.js';
import {generateTokens, type GenerateOptions, type GeneratedToken, type Generation} from './generate.js';
import {
  perplexitiesOf,
  scoreWindows,
  windowsOf,
  type PerplexityProtocol,
  type TextWindow,
} from './perplexity.js';
import type {NativeDecoderOptions} from './native-decoder.js';
import {metadataOf} from './saved-metadata.js';
import {sparsityReport, type SparsityReport} from './sparsity-report.js';
import type {TokenDecoder} from './text-stream.js';
import {textDataset, type TextDatasetOptions} from './text-dataset.js';
import {applyChatTemplate, type ChatMessage} from './tokenizer/chat.js';
import {createTokenizer, type LlamaTokenizer} from './tokenizer/tokenizer.js';
import {detokenize, documentsOf, isWikiText} from './wikitext.js';

/** Text, a conversation, or token ids as the model takes them. */
export type Prompt = string | readonly ChatMessage[] | readonly number[];

export interface PerplexityOptions {
  /** `word` by default. */
  readonly protocol?: PerplexityProtocol;
  /** Tokens of a window; 2048 by default, or the model's own context if that is shorter. */
  readonly contextLength?: number;
  /** No more than the first so many windows; by default all. */
  readonly windows?: number;
  /** Compute with the thresholds off, as the dense model does. False by default. */
  readonly dense?: boolean;
  /** Called after every window. */
  readonly onProgress?: (progress: Progress) => void;
  /** Stops within a window: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface Perplexity {
  readonly wordPerplexity: number;
  readonly tokenPerplexity: number;
  /** Tokens that were scored. */
  readonly tokens: number;
  /** Words of the text that they make; where a document is not scored whole, by the share of its tokens. */
  readonly words: number;
  /** Actual sparsity over the tokens that were computed; null if no layer is sparsified, or with `dense`. */
  readonly sparsity: SparsityReport | null;
}

/** Writes a model somewhere. */
export type SaveModel = (
  model: tf.LayersModel,
  target: string,
  options?: {readonly signal?: AbortSignal},
) => Promise<unknown>;

export interface LanguageModelOptions {
  /** What `save` does; by default `model.save`. */
  readonly saveModel?: SaveModel;
  /** How weights and cache are stored while decoding; float32 by default. */
  readonly decoder?: NativeDecoderOptions;
}

const DEFAULT_CONTEXT = 2048;

/**
 * A LayersModel with what it takes to use it as a language model.
 *
 * Calls may overlap: each has a decoder of its own. The last conversation's cache is kept, so that a prompt that begins
 * with the same tokens is not computed again. Weights and thresholds of the model may change between calls (in-place
 * sparsifying, retargeting): the next call sees them.
 *
 * @example
 * const lm = await loadLanguageModel('SmolLM2-135M-Instruct.Q4_1.gguf');
 * const {text} = await lm.generate([{role: 'user', content: 'Why is the sky blue?'}]);
 */
export class LanguageModel {
  readonly config: LlamaConfig;
  /** Null if the checkpoint had none: prompts are token ids then. */
  readonly tokenizer: LlamaTokenizer | null;
  private isDisposed = false;
  private idle: {readonly session: DecoderSession; readonly weights: readonly object[]} | null = null;

  /**
   * @param model int32 ids [B, T] → logits [B, T, vocabulary], with the metadata that loading attaches; owned by this
   *   from now on.
   * @throws {ModelError} `not-a-language-model`, `malformed-metadata`.
   */
  constructor(
    readonly model: tf.LayersModel,
    private readonly options: LanguageModelOptions = {},
  ) {
    const {config, tokenizer} = metadataOf(model);
    this.config = config;
    this.tokenizer = tokenizer === null ? null : createTokenizer(tokenizer);
  }

  /**
   * The same language model with another LayersModel, a sparsified copy say.
   *
   * @param model Made from `this.model`; disposed by the result's `dispose`, while this one stays as it is.
   * @example
   * const sparse = lm.withModel(await sparsifyActivations(lm.model, lm.dataset(text), {targetSparsityByScope}));
   */
  withModel(model: tf.LayersModel): LanguageModel {
    return new LanguageModel(model, this.options);
  }

  /**
   * Generates what follows a prompt.
   *
   * @param prompt A string is continued as it is, a conversation gets the model's chat template and is answered.
   * @throws {SparsifyError} `prompt-too-long`, `empty-prompt`, `bad-token`, `no-tokenizer`, `bad-option`; {ModelError}
   *   `nan-logits`; the signal's reason if it is aborted.
   */
  async generate(prompt: Prompt, options: GenerateOptions = {}): Promise<Generation> {
    const tokens = this.stream(prompt, options);
    for (;;) {
      const {done, value} = await tokens.next();
      if (done === true) return value;
    }
  }

  /**
   * As `generate`, token by token. Leaving the loop early ends the generation.
   *
   * @returns At its end what `generate` gives.
   * @example
   * for await (const {text} of lm.stream('Once upon a time')) process.stdout.write(text);
   */
  async *stream(
    prompt: Prompt,
    options: GenerateOptions = {},
  ): AsyncGenerator<GeneratedToken, Generation, undefined> {
    const ids = this.encodePrompt(prompt);
    const session = this.takeSession();
    const weights = weightData(this.model);
    try {
      const tokens = generateTokens(
        {
          session,
          tokenizer: this.tokenizer === null ? null : withoutSpecialTokens(this.tokenizer),
          endTokens: new Set(this.config.eosTokenIds),
          contextLength: this.config.contextLength,
        },
        ids,
        options,
      );
      for (;;) {
        const {done, value} = await tokens.next();
        if (done === true) return value;
        options.onToken?.(value);
        yield value;
      }
    } finally {
      this.idle?.session.dispose();
      this.idle = this.isDisposed ? null : {session, weights};
      if (this.isDisposed) session.dispose();
    }
  }

  /**
   * How well the model predicts a text: exp of minus the mean log likelihood.
   *
   * @param text Raw WikiText is split into its articles and detokenised as lm-evaluation-harness does; other text is one
   *   document as it is.
   * @throws {SparsifyError} `no-tokenizer`, `bad-option`; {DatasetError} `empty`; the signal's reason.
   */
  async perplexity(text: string, options: PerplexityOptions = {}): Promise<Perplexity> {
    const {dense = false, onProgress, signal} = options;
    const windows = this.windows(text, options);
    const decoder = this.decoder();
    try {
      const likelihood = await scoreWindows(decoder, windows, {dense, onProgress, signal});
      return {
        ...perplexitiesOf(likelihood),
        tokens: likelihood.tokens,
        words: likelihood.words,
        sparsity: dense ? null : sparsityReport(this.model, decoder.counts()),
      };
    } finally {
      decoder.dispose();
    }
  }

  /**
   * The windows in which `perplexity` scores a text.
   *
   * @throws As `perplexity`.
   */
  windows(
    text: string,
    {protocol = 'word', contextLength, windows}: Omit<PerplexityOptions, 'dense'> = {},
  ): TextWindow[] {
    const longest = this.config.contextLength;
    const length = contextLength ?? Math.min(DEFAULT_CONTEXT, longest);
    if (!(Number.isInteger(length) && length >= 2 && length <= longest)) {
      throw badOption('contextLength', length, `a whole number from 2 to ${longest}, the model's context`);
    }
    if (windows !== undefined && !(Number.isInteger(windows) && windows >= 1)) {
      throw badOption('windows', windows, 'a whole number of 1 or more');
    }
    const tokenizer = this.needTokenizer('perplexity of text');
    const encode = (part: string) => tokenizer.encode(part);
    return windowsOf(documentsOf(text), encode, this.prefixToken(), {
      protocol,
      contextLength: length,
      windows,
    });
  }

  /**
   * Log likelihood of each token after those before it.
   *
   * @param ids At least two, no more than the context holds.
   * @returns [ids - 1]: entry i is the natural log likelihood of `ids[i + 1]`.
   * @throws {SparsifyError} `empty-prompt`, `prompt-too-long`, `bad-token`.
   */
  async score(ids: readonly number[]): Promise<Float32Array> {
    if (ids.length < 2) {
      throw new SparsifyError(
        'empty-prompt',
        `${ids.length} ids were given to score; the first only opens: give 2 or more`,
      );
    }
    this.checkIds(ids, this.config.contextLength);
    const decoder = this.decoder();
    try {
      return Float32Array.from(await decoder.score(ids.slice(0, -1), ids.slice(1)));
    } finally {
      decoder.dispose();
    }
  }

  /**
   * A text as a data set for `sparsifyActivations`: the ids of the whole text, in equal pieces.
   *
   * @param text Raw WikiText is detokenised; or token ids. Several texts take turns, piece by piece.
   * @throws {DatasetError} `too-short`; {SparsifyError} `no-tokenizer`, `bad-option`, `bad-token`.
   */
  dataset(text: string | readonly string[] | readonly number[], options?: TextDatasetOptions): Batches {
    return textDataset(this.idsOf(text), options);
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

  /** A decoder of the model as it is now: native where there is one. The caller disposes it. */
  decoder(): Decoder {
    return createDecoder(this.model, this.config, this.options.decoder);
  }

  /**
   * Saves model, configuration, tokenizer, thresholds and statistics; `loadLanguageModel` loads them, and
   * `tf.loadLayersModel` the model alone after `registerLlamaLayers()`.
   *
   * @param target A folder, in Node; else a URL as `model.save` takes it.
   */
  async save(target: string, options?: {readonly signal?: AbortSignal}): Promise<void> {
    const {saveModel = (model: tf.LayersModel, url: string) => model.save(url)} = this.options;
    await saveModel(this.model, target, options);
  }

  /** Frees the model and the kept cache. */
  dispose(): void {
    this.isDisposed = true;
    this.idle?.session.dispose();
    this.idle = null;
    this.model.dispose();
  }

  /**
   * The ids of a prompt.
   *
   * @throws {SparsifyError} as `generate`.
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

  private toIds(prompt: Prompt): readonly number[] {
    if (typeof prompt === 'string')
      return this.needTokenizer('a prompt of text').encode(prompt, {addSpecialTokens: true});
    if (isIds(prompt)) return prompt;
    const tokenizer = this.needTokenizer('a conversation');
    return tokenizer.encode(applyChatTemplate(tokenizer.source, prompt));
  }

  private checkIds(ids: readonly number[], most: number): void {
    const {vocabularySize} = this.config;
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
      `the prompt has ${ids.length} tokens; the model's context holds ${this.config.contextLength}, one of them for the ` +
        'answer: shorten it, or leave out the earliest messages of the conversation',
      {tokens: ids.length, contextLength: this.config.contextLength},
    );
  }

  private needTokenizer(what: string): LlamaTokenizer {
    if (this.tokenizer !== null) return this.tokenizer;
    throw new SparsifyError(
      'no-tokenizer',
      `${what} needs a tokenizer, and the checkpoint had none: give token ids, or load a folder with tokenizer.json`,
    );
  }

  /**
   * What stands before the first token of a text: as the harness has it, beginning of text, else end of text.
   *
   * @throws {ModelError} `no-prefix-token`.
   */
  prefixToken(): number {
    const {bosTokenId, eosTokenIds} = this.config;
    const prefix = bosTokenId ?? eosTokenIds[0];
    if (prefix !== undefined) return prefix;
    throw new ModelError(
      'no-prefix-token',
      'the model has neither a beginning-of-text nor an end-of-text id, one of which opens a window: add bos_token_id ' +
        'to its config.json',
    );
  }

  /** The kept session if no other call has it and the weights are still those; else a new one. */
  private takeSession(): DecoderSession {
    const {idle} = this;
    this.idle = null;
    if (idle !== null) {
      const now = weightData(this.model);
      const same = now.length === idle.weights.length && now.every((data, i) => data === idle.weights[i]);
      if (same) return idle.session;
      idle.session.dispose();
    }
    return new DecoderSession(this.decoder());
  }
}

function withoutSpecialTokens(tokenizer: LlamaTokenizer): TokenDecoder {
  return {decode: (ids) => tokenizer.decode(ids, {skipSpecialTokens: true})};
}

/** What identifies the weights' present values: a variable gets other data when it is written. */
function weightData(model: tf.LayersModel): object[] {
  return model.weights.map((weight) => weight.read().dataId);
}

function isIds(prompt: readonly (ChatMessage | string)[] | readonly number[]): prompt is readonly number[] {
  return prompt.every((entry) => typeof entry === 'number');
}

function badOption(option: string, got: unknown, allowed: string): SparsifyError {
  return new SparsifyError('bad-option', `${option} is ${String(got)}; it must be ${allowed}`, {option, got});
}
