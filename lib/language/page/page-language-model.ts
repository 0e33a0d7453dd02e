/**
 * @file A language model as a page holds it: all its work is done in a worker, so that the page never stutters. Names,
 * options and results are those of `LanguageModel` and of the functions for it; what gives its result at once there, gives a
 * promise here.
 */
import {SparsifyError} from '../../errors.js';
import type {Allocation} from '../../metadata/allocation.js';
import type {CompressOptions} from '../../compress.js';
import type {DenseReport} from '../../model/inspect.js';
import type {WeightReport} from '../../model/compressible.js';
import type {SparsifyScopes} from '../../sparsify.js';
import type {TargetSparsityByScope} from '../../scope/parse-targets.js';
import type {WarningOptions} from '../../warnings.js';
import type {LlamaConfig} from '../config/llama-config.js';
import type {GenerateOptions, GeneratedToken, Generation} from '../decoding/generate.js';
import type {BytesPerToken} from '../evaluation/bytes-per-token.js';
import type {Perplexity, PerplexityOptions} from '../evaluation/perplexity.js';
import type {SparsityReport} from '../evaluation/sparsity-report.js';
import type {Prompt} from '../prompt.js';
import type {SparsifyTextOptions} from '../sparsify-language-model.js';
import type {DecodeOptions, EncodeOptions} from '../tokenizer/tokenizer.js';
import type {
  AbortOptions,
  AllocateInPageOptions,
  CalibrationText,
  LoadedModel,
  PageBackend,
  PageMemory,
} from './messages.js';
import type {WorkerCalls} from './worker-calls.js';

/**
 * A language model in a worker. `loadLanguageModel` makes it.
 *
 * Calls may overlap. `sparsify` and `compress` change the model: they wait for those that run, and later ones wait for them.
 * `retarget` waits for none of the others: a generation that runs goes on with the new thresholds from its next token on. A
 * signal ends a call at once. Errors are those of `LanguageModel`, and {BackendError} `worker-lost` if the worker ends.
 *
 * @example
 * const lm = await loadLanguageModel('models/smollm2/');
 * for await (const {text} of lm.stream([{role: 'user', content: 'Why is the sky blue?'}])) answer.append(text);
 */
export class PageLanguageModel {
  readonly config: LlamaConfig;
  /** Whether prompts may be text; else they are token ids. */
  readonly hasTokenizer: boolean;
  /** What computes, with how many threads, and why so many. */
  readonly backend: PageBackend;

  /** @param calls Of a worker that has loaded the model; ended by `dispose`. */
  constructor(
    private readonly calls: WorkerCalls,
    {config, hasTokenizer, backend}: LoadedModel,
  ) {
    this.config = config;
    this.hasTokenizer = hasTokenizer;
    this.backend = backend;
  }

  /** As `LanguageModel.generate`. */
  generate(prompt: Prompt, options: GenerateOptions = {}): Promise<Generation> {
    return this.calls.call('generate', prompt, options);
  }

  /**
   * As `LanguageModel.stream`: leaving the loop early ends the generation. The worker does not wait for the loop, so that a
   * page that is busy does not slow it down.
   */
  async *stream(
    prompt: Prompt,
    options: GenerateOptions = {},
  ): AsyncGenerator<GeneratedToken, Generation, undefined> {
    const {signal, onToken} = options;
    const tokens: GeneratedToken[] = [];
    let wake = () => {};
    const leaving = new AbortController();
    const abort = () => leaving.abort(signal!.reason);
    signal?.throwIfAborted();
    signal?.addEventListener('abort', abort, {once: true});
    let hasEnded = false;
    const generation = this.calls
      .call('generate', prompt, {
        ...options,
        signal: leaving.signal,
        onToken: (token) => {
          onToken?.(token);
          tokens.push(token);
          wake();
        },
      })
      .finally(() => {
        hasEnded = true;
        wake();
      });
    generation.catch(() => undefined); // it is heard below, or the loop was left
    try {
      for (;;) {
        signal?.throwIfAborted();
        const token = tokens.shift();
        if (token !== undefined) yield token;
        else if (hasEnded) return await generation;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      signal?.removeEventListener('abort', abort);
      leaving.abort(new SparsifyError('cancelled', 'the loop over the tokens was left'));
    }
  }

  /** As `LanguageModel.score`. */
  score(ids: readonly number[]): Promise<Float32Array> {
    return this.calls.call('score', ids);
  }

  /** As `LanguageModel.perplexity`: with `dense`, what the model would have with its thresholds off. */
  perplexity(text: string, options: PerplexityOptions = {}): Promise<Perplexity> {
    return this.calls.call('perplexity', text, options);
  }

  /** As `LlamaTokenizer.encode`; {SparsifyError} `no-tokenizer` without one. */
  encode(text: string, options: EncodeOptions = {}): Promise<number[]> {
    return this.calls.call('encode', text, options);
  }

  /** As `LlamaTokenizer.decode`; {SparsifyError} `no-tokenizer` without one. */
  decode(ids: readonly number[], options: DecodeOptions = {}): Promise<string> {
    return this.calls.call('decode', ids, options);
  }

  /** As `LanguageModel.encodePrompt`: how many tokens a conversation takes, say. */
  encodePrompt(prompt: Prompt): Promise<readonly number[]> {
    return this.calls.call('encodePrompt', prompt);
  }

  /**
   * As `sparsifyLanguageModel`: the model masks from then on. The text stays in the page.
   *
   * @example
   * await lm.sparsify(text, {targetSparsityByScope: {[PROJECTIONS.all]: 0.5}, sequences: 8});
   * await lm.sparsify(text, {targetSparsityByScope: await lm.allocate(text, {target: 0.5})});
   */
  sparsify(text: CalibrationText, options: SparsifyTextOptions): Promise<DenseReport[]> {
    return this.calls.call('sparsify', text, options);
  }

  /** As `allocateLanguageModel`, but for measures of one's own. */
  allocate(text: CalibrationText, options: AllocateInPageOptions): Promise<Allocation> {
    return this.calls.call('allocate', text, options);
  }

  /** As `retarget`: other targets at once and without data, for a slider. */
  retarget(
    scopes: SparsifyScopes | TargetSparsityByScope | Allocation,
    options: WarningOptions = {},
  ): Promise<DenseReport[]> {
    return this.calls.call('retarget', scopes, options);
  }

  /** As `compressWeights` with `inPlace`: the float32 weights are freed. Gives what `inspectWeights` says afterwards. */
  compress(options: Omit<CompressOptions, 'inPlace'> = {}): Promise<WeightReport[]> {
    return this.calls.call('compress', options);
  }

  /** As `inspect`: every Dense layer with its target and threshold. */
  inspect(): Promise<DenseReport[]> {
    return this.calls.call('inspect');
  }

  /** As `inspectWeights`: every weight with its format and size. */
  inspectWeights(): Promise<WeightReport[]> {
    return this.calls.call('inspectWeights');
  }

  /** Bytes of weights that one token reads, dense and sparse: by what the last generation masked, else by calibration. */
  bytesPerToken(): Promise<BytesPerToken> {
    return this.calls.call('bytesPerToken');
  }

  /** As `LanguageModel.sparsity`: what the last generation really masked. */
  sparsity(): Promise<SparsityReport | null> {
    return this.calls.call('sparsity');
  }

  /** What the worker holds. */
  memory(): Promise<PageMemory> {
    return this.calls.call('memory');
  }

  /**
   * Saves the model with its tokenizer, thresholds and statistics in this browser; `loadLanguageModel` loads it from there.
   *
   * @param target `opfs://name`, one weight in memory at a time; or a URL as `model.save` takes it, such as `indexeddb://name`.
   * @throws {FileError} `disk-full`, `no-file-system`, `bad-name`. An older model of the name is whole then.
   */
  async save(target: string, options: AbortOptions = {}): Promise<void> {
    await this.calls.call('save', target, options);
  }

  /**
   * The model as the files of a folder: for a download, or for `loadLanguageModel`, here and in Node.
   *
   * @example
   * for (const file of await lm.files()) {
   *   const link = Object.assign(document.createElement('a'), {href: URL.createObjectURL(file), download: file.name});
   *   link.click();
   * }
   */
  files(options: AbortOptions = {}): Promise<File[]> {
    return this.calls.call('files', options);
  }

  /** Ends the worker and frees all that it holds. Calls that run end with {SparsifyError} `model-disposed`. */
  dispose(): void {
    this.calls.close(
      new SparsifyError(
        'model-disposed',
        'the language model is disposed: load it again with loadLanguageModel',
      ),
    );
  }
}
