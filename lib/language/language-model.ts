/**
 * @file A language model for use: the LayersModel with its tokenizer, text in and text out, scores. Runs on every
 * backend, in browsers too; loading checkpoints and saving to folders is in load-language-model.ts.
 */
import type * as tf from '@tensorflow/tfjs';
import type {Batches} from '../dataset.js';
import {ModelError, SparsifyError} from '../errors.js';
import {CALLBACK, SIGNAL, checkOptions, nested, type OptionRules} from '../option-rules.js';
import type {LlamaConfig} from './config/llama-config.js';
import {createDecoder} from './decoding/create-decoder.js';
import type {Decoder, MaskedCount} from './decoding/decoder.js';
import {DecoderSession} from './decoding/decoder-session.js';
import {
  generateTokens,
  type GenerateOptions,
  type GeneratedToken,
  type Generation,
} from './decoding/generate.js';
import {
  PERPLEXITY_RULES,
  WINDOW_RULES,
  perplexitiesOf,
  scoreWindows,
  windowsOf,
  type Perplexity,
  type PerplexityOptions,
  type TextWindow,
} from './evaluation/perplexity.js';
import {NATIVE_DECODER_RULES, type NativeDecoderOptions} from './decoding/native-decoder.js';
import {decoderWeightsOf, metadataOf} from './config/saved-metadata.js';
import {sparsityReport, type SparsityReport} from './evaluation/sparsity-report.js';
import type {TokenDecoder} from './decoding/text-stream.js';
import {textDataset, type TextDatasetOptions} from './text-dataset.js';
import {PromptEncoder, type Prompt} from './prompt.js';
import {createTokenizer, type LlamaTokenizer} from './tokenizer/tokenizer.js';
import {documentsOf} from './evaluation/wikitext.js';

/** Writes a model somewhere. */
export type SaveModel = (
  model: tf.LayersModel,
  target: string,
  options?: {readonly signal?: AbortSignal},
) => Promise<unknown>;

/** How a language model saves and decodes. */
export interface LanguageModelOptions {
  /** What `save` does; by default `model.save`. */
  readonly saveModel?: SaveModel;
  /** How weights and cache are stored while decoding: weights by default as a model says that was saved so, else float32. */
  readonly decoder?: NativeDecoderOptions;
}

const RULES: OptionRules<LanguageModelOptions> = {
  saveModel: CALLBACK,
  decoder: nested(NATIVE_DECODER_RULES),
};
const SAVE_RULES: OptionRules<NonNullable<Parameters<SaveModel>[2]>> = {signal: SIGNAL};

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
  private readonly encoder: PromptEncoder;
  private isDisposed = false;
  private idle: {readonly session: DecoderSession; readonly weights: readonly object[]} | null = null;
  /** Of the tokens that the generation computed that ended last. */
  private generated: ReadonlyMap<string, MaskedCount> = new Map();

  /**
   * @param model int32 ids [B, T] → logits [B, T, vocabulary], with the metadata that loading attaches; owned by this
   *   from now on.
   * @throws {ModelError} `not-a-language-model`, `malformed-metadata`.
   */
  constructor(
    readonly model: tf.LayersModel,
    private readonly options: LanguageModelOptions = {},
  ) {
    checkOptions('LanguageModel', options, RULES);
    const {config, tokenizer} = metadataOf(model);
    this.config = config;
    this.tokenizer = tokenizer === null ? null : createTokenizer(tokenizer);
    this.encoder = new PromptEncoder(config, this.tokenizer);
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
    let isGenerating = false;
    try {
      const tokens = generateTokens(
        {
          session: {
            prefill: async (prompt, policy, signal) => {
              const logits = await session.prefill(prompt, policy, signal);
              session.decoder.resetCounts(); // `sparsity` tells of generated tokens
              isGenerating = true;
              return logits;
            },
            next: (id, policy, promptLength) => session.next(id, policy, promptLength),
          },
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
      if (isGenerating) this.generated = session.decoder.counts();
      this.idle?.session.dispose();
      this.idle = this.isDisposed ? null : {session, weights};
      if (this.isDisposed) session.dispose();
    }
  }

  /**
   * How sparse the inputs of the layers were while the generation that ended last computed its tokens, those of the prompt
   * left out: all zeros before the first one.
   *
   * @returns Null if no layer is sparsified.
   */
  sparsity(): SparsityReport | null {
    return sparsityReport(this.model, this.generated);
  }

  /**
   * How well the model predicts a text: exp of minus the mean log likelihood.
   *
   * @param text Raw WikiText is split into its articles and detokenised as lm-evaluation-harness does; other text is one
   *   document as it is.
   * @throws {SparsifyError} `no-tokenizer`, `bad-option`; {DatasetError} `empty`; the signal's reason.
   */
  async perplexity(text: string, options: PerplexityOptions = {}): Promise<Perplexity> {
    checkOptions('perplexity', options, PERPLEXITY_RULES);
    const {dense = false, onProgress, signal, ...cut} = options;
    const windows = this.windows(text, cut);
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
  windows(text: string, options: Omit<PerplexityOptions, 'dense'> = {}): TextWindow[] {
    checkOptions('windows', options, WINDOW_RULES);
    const {protocol = 'word', contextLength, windows} = options;
    const longest = this.config.contextLength;
    const length = contextLength ?? Math.min(DEFAULT_CONTEXT, longest);
    if (!(Number.isInteger(length) && length >= 2 && length <= longest)) {
      throw badOption('contextLength', length, `a whole number from 2 to ${longest}, the model's context`);
    }
    if (windows !== undefined && !(Number.isInteger(windows) && windows >= 1)) {
      throw badOption('windows', windows, 'a whole number of 1 or more');
    }
    const tokenizer = this.encoder.needTokenizer('perplexity of text');
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
    this.encoder.checkIds(ids, this.config.contextLength);
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
    return this.encoder.idsOf(text);
  }

  /** A decoder of the model as it is now: native where there is one. The caller disposes it. */
  decoder(): Decoder {
    const weights = this.options.decoder?.weights ?? decoderWeightsOf(this.model);
    return createDecoder(this.model, this.config, {...this.options.decoder, weights});
  }

  /**
   * Saves model, configuration, tokenizer, thresholds and statistics; `loadLanguageModel` loads them, and
   * `tf.loadLayersModel` the model alone after `registerLlamaLayers()`.
   *
   * @param target A folder, in Node; else a URL as `model.save` takes it.
   */
  async save(target: string, options?: {readonly signal?: AbortSignal}): Promise<void> {
    checkOptions('save', options, SAVE_RULES);
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
    return this.encoder.encodePrompt(prompt);
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

function badOption(option: string, got: unknown, allowed: string): SparsifyError {
  return new SparsifyError('bad-option', `${option} is ${String(got)}; it must be ${allowed}`, {option, got});
}
