/**
 * @file What sparsity and INT8 weights cost a language model: all over the same windows, the perplexity of each, how far
 * its distribution is from the dense one, and the sparsity that it really had. NNCF's tables have the columns mode,
 * average activation sparsity, word perplexity, and the modes that stand here.
 */
import {nextTurn} from '../event-loop.js';
import {inspectWeights} from '../compress.js';
import {ModelError} from '../errors.js';
import {maskingLayers} from '../model/dense-layers.js';
import {checkOptions, optional, type OptionRules} from '../option-rules.js';
import type {Decoder} from './decoding/decoder.js';
import {LanguageModel} from './language-model.js';
import {
  WINDOW_RULES,
  perplexitiesOf,
  type PerplexityOptions,
  type TextWindow,
} from './evaluation/perplexity.js';
import {sparsityReport, type SparsityReport} from './evaluation/sparsity-report.js';

export interface CompareOptions extends Omit<PerplexityOptions, 'dense'> {
  /** The dense model; by default the same one with its thresholds off. */
  readonly baseline?: LanguageModel;
}

const RULES: OptionRules<CompareOptions> = {
  ...WINDOW_RULES,
  baseline: optional('a LanguageModel', (value) => value instanceof LanguageModel),
};

/** One line of the table. */
export interface ModeResult {
  /** `fp32`, `int8_asym`, `int8_sym`, `sparse_activation`, or two of them: `int8_asym + sparse_activation`. */
  readonly mode: string;
  /** Mean over the sparsified layers, in [0, 1]; 0 for a model without any. */
  readonly sparsity: number;
  readonly wordPerplexity: number;
  readonly tokenPerplexity: number;
  /** Mean Kullback-Leibler divergence from the dense distribution, nats a token; 0 for the dense model. */
  readonly divergence: number;
  /** Share of tokens for which the dense model thinks the same one likeliest, in [0, 1]. */
  readonly agreement: number;
}

export interface Comparison {
  /** The dense model, then the others in the order given. */
  readonly modes: readonly ModeResult[];
  /** Of the last model; null if it is not sparsified. */
  readonly sparsity: SparsityReport | null;
  readonly tokens: number;
  readonly words: number;
}

/** Logits held at a time, of each model. */
const MAX_LOGITS_BYTES = 32 * 1024 ** 2;

/**
 * Runs a text through models and a dense baseline.
 *
 * @param models One or several, of one tokenizer: sparsified, INT8, or both; without a baseline the first is sparsified.
 * @param text Held out from calibration; as for `LanguageModel.perplexity`.
 * @throws {ModelError} `not-sparsified`, `different-models`; as `LanguageModel.perplexity`.
 * @example
 * const {modes} = await compareWithDense(lm, text, {protocol: 'token', windows: 4});
 * const table = await compareWithDense([sparse, int8Sparse], text, {baseline: lm});
 */
export async function compareWithDense(
  models: LanguageModel | readonly LanguageModel[],
  text: string,
  options: CompareOptions = {},
): Promise<Comparison> {
  checkOptions('compareWithDense', options, RULES);
  const {baseline, onProgress, signal, ...windowOptions} = options;
  const lms = models instanceof Array ? models : [models];
  const reference = baseline ?? lms[0];
  const thresholdsOff = baseline === undefined;
  if (thresholdsOff) checkSparsified(reference);
  for (const lm of lms) checkComparable(lm, reference);
  const windows = reference.windows(text, windowOptions);
  const dense = reference.decoder();
  const compared: Compared[] = [];
  try {
    for (const lm of lms) compared.push({decoder: lm.decoder(), total: new Totals()});
    const denseTotal = new Totals();
    let [tokens, words] = [0, 0];
    for (const [i, window] of windows.entries()) {
      await compareWindow(
        window,
        {decoder: dense, total: denseTotal, thresholdsOff},
        compared,
        reference.config.vocabularySize,
      );
      signal?.throwIfAborted();
      tokens += window.scored;
      words += window.words;
      onProgress?.({done: i + 1, total: windows.length});
    }
    const reports = lms.map(({model}, i) => sparsityReport(model, compared[i].decoder.counts()));
    const ofBaseline = thresholdsOff ? null : sparsityReport(reference.model, dense.counts());
    return {
      modes: [
        {
          mode: modeOf(reference, ofBaseline !== null),
          sparsity: ofBaseline?.mean ?? 0,
          ...denseTotal.result(tokens, words),
        },
        ...lms.map((lm, i) => ({
          mode: modeOf(lm, reports[i] !== null),
          sparsity: reports[i]?.mean ?? 0,
          ...compared[i].total.result(tokens, words),
        })),
      ],
      sparsity: reports[reports.length - 1],
      tokens,
      words,
    };
  } finally {
    dense.dispose();
    for (const {decoder} of compared) decoder.dispose();
  }
}

/** What one mode adds up to. */
class Totals {
  logLikelihood = 0;
  divergence = 0;
  agreeing = 0;

  result(tokens: number, words: number): Omit<ModeResult, 'mode' | 'sparsity'> {
    return {
      ...perplexitiesOf({logLikelihood: this.logLikelihood, tokens, words}),
      divergence: this.divergence / tokens,
      agreement: this.agreeing / tokens,
    };
  }
}

/** A model on its way through the text. */
interface Compared {
  readonly decoder: Decoder;
  readonly total: Totals;
}

interface Reference extends Compared {
  /** Compute with thresholds off. */
  readonly thresholdsOff: boolean;
}

async function compareWindow(
  {tokens, targets, scored}: TextWindow,
  reference: Reference,
  compared: readonly Compared[],
  vocabulary: number,
): Promise<void> {
  const rows = Math.max(1, Math.floor(MAX_LOGITS_BYTES / (4 * vocabulary)));
  for (const {decoder} of [reference, ...compared]) decoder.truncate(0);
  for (let start = 0; start < tokens.length; start += rows) {
    const piece = tokens.slice(start, start + rows);
    const logits = await reference.decoder.appendAll(piece, {dense: reference.thresholdsOff});
    const first = Math.max(0, tokens.length - scored - start);
    const places = piece.slice(first).map((_, i) => {
      const own = logits.subarray((first + i) * vocabulary, (first + i + 1) * vocabulary);
      return {index: first + i, distribution: new Distribution(own), target: targets[start + first + i]};
    });
    for (const {distribution, target} of places) {
      reference.total.logLikelihood += distribution.logLikelihood(target);
      reference.total.agreeing += 1;
    }
    for (const {decoder, total} of compared) {
      const logits = await decoder.appendAll(piece);
      for (const {index, distribution, target} of places) {
        const own = new Distribution(logits.subarray(index * vocabulary, (index + 1) * vocabulary));
        total.logLikelihood += own.logLikelihood(target);
        total.divergence += distribution.divergenceTo(own);
        total.agreeing += distribution.best === own.best ? 1 : 0;
      }
    }
    await nextTurn(); // so that timers and signals get their turn
  }
}

/** Of the next token, from logits [vocabulary]. */
class Distribution {
  /** The likeliest id. */
  readonly best: number;
  /** ln of the sum of exp(logits). */
  private readonly norm: number;

  constructor(private readonly logits: Float32Array) {
    this.best = largest(logits);
    let sum = 0;
    for (const logit of logits) sum += Math.exp(logit - logits[this.best]);
    this.norm = logits[this.best] + Math.log(sum);
  }

  logLikelihood(id: number): number {
    return this.logits[id] - this.norm;
  }

  /** Kullback-Leibler divergence of the other from this one, nats. */
  divergenceTo(other: Distribution): number {
    let weighted = 0;
    for (let id = 0; id < this.logits.length; id++) {
      weighted += Math.exp(this.logits[id] - this.norm) * (this.logits[id] - other.logits[id]);
    }
    return weighted - this.norm + other.norm;
  }
}

function largest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/** NNCF's names of what was done to a model. */
function modeOf({model}: LanguageModel, sparse: boolean): string {
  const format = inspectWeights(model).find(({format}) => format !== 'float32')?.format;
  const parts = [...(format === undefined ? [] : [format]), ...(sparse ? ['sparse_activation'] : [])];
  return parts.length === 0 ? 'fp32' : parts.join(' + ');
}

function checkSparsified({model}: LanguageModel): void {
  if (maskingLayers(model).size > 0) return;
  throw new ModelError(
    'not-sparsified',
    'the model has no sparsified layer and there is no baseline, so there is nothing to compare: sparsify it first with ' +
      'sparsifyActivations, or give another model as the baseline',
  );
}

function checkComparable(lm: LanguageModel, baseline: LanguageModel): void {
  const sizes = [baseline.config.vocabularySize, lm.config.vocabularySize];
  if (sizes[0] === sizes[1]) return;
  throw new ModelError(
    'different-models',
    `the baseline has ${sizes[0]} tokens in its vocabulary, the model ${sizes[1]}: compare models of one tokenizer`,
    {sizes},
  );
}
