/**
 * @file What sparsity costs a language model: dense and sparse over the same windows, perplexity of both, how far the
 * sparse distribution is from the dense one, and the sparsity that it really had. NNCF's tables have the columns mode,
 * average activation sparsity, word perplexity.
 */
import * as tf from '@tensorflow/tfjs';
import {ModelError} from '../../lib/errors.js';
import {sparsifyingLayers} from '../../lib/model/dense-layers.js';
import type {Decoder} from './decoder.js';
import type {LanguageModel, PerplexityOptions} from './language-model.js';
import {perplexitiesOf, type Likelihood, type TextWindow} from './perplexity.js';
import {sparsityReport, type SparsityReport} from './sparsity-report.js';

export interface CompareOptions extends Omit<PerplexityOptions, 'dense'> {
  /** The dense model; by default the same one with its thresholds off. */
  readonly baseline?: LanguageModel;
}

/** One line of the table. */
export interface ModeResult {
  readonly mode: 'dense' | 'sparse';
  /** Mean over the sparsified layers, in [0, 1]; 0 for the dense model. */
  readonly sparsity: number;
  readonly wordPerplexity: number;
  readonly tokenPerplexity: number;
}

export interface Comparison {
  readonly modes: readonly [dense: ModeResult, sparse: ModeResult];
  /** Mean Kullback-Leibler divergence of the sparse distribution from the dense one, nats a token. */
  readonly divergence: number;
  /** Share of tokens for which both models think the same one likeliest, in [0, 1]. */
  readonly agreement: number;
  readonly sparsity: SparsityReport;
  readonly tokens: number;
  readonly words: number;
}

/** Logits held at a time, of each model. */
const MAX_LOGITS_BYTES = 32 * 1024 ** 2;

/**
 * Runs a text through a sparsified model and its dense baseline.
 *
 * @param text Held out from calibration; as for `LanguageModel.perplexity`.
 * @throws {ModelError} `not-sparsified`, `different-models`; as `LanguageModel.perplexity`.
 * @example
 * const {modes, divergence} = await compareWithDense(lm, text, {protocol: 'token', windows: 4});
 */
export async function compareWithDense(
  lm: LanguageModel,
  text: string,
  {baseline, onProgress, signal, ...windowOptions}: CompareOptions = {},
): Promise<Comparison> {
  checkComparable(lm, baseline);
  const windows = lm.windows(text, windowOptions);
  const sparse = lm.decoder();
  const dense = baseline === undefined ? lm.decoder() : baseline.decoder();
  try {
    const total = new Totals();
    for (const [i, window] of windows.entries()) {
      await compareWindow(
        window,
        dense,
        sparse,
        baseline === undefined,
        total,
        lm.config.vocabularySize,
        signal,
      );
      onProgress?.({done: i + 1, total: windows.length});
    }
    const sparsity = sparsityReport(lm.model, sparse.counts())!;
    const {tokens, words} = total;
    return {
      modes: [
        {mode: 'dense', sparsity: 0, ...perplexitiesOf(total.likelihood('dense'))},
        {mode: 'sparse', sparsity: sparsity.mean, ...perplexitiesOf(total.likelihood('sparse'))},
      ],
      divergence: total.divergence / tokens,
      agreement: total.agreeing / tokens,
      sparsity,
      tokens,
      words,
    };
  } finally {
    dense.dispose();
    sparse.dispose();
  }
}

class Totals {
  readonly logLikelihood = {dense: 0, sparse: 0};
  divergence = 0;
  agreeing = 0;
  tokens = 0;
  words = 0;

  likelihood(mode: 'dense' | 'sparse'): Likelihood {
    return {logLikelihood: this.logLikelihood[mode], tokens: this.tokens, words: this.words};
  }
}

async function compareWindow(
  {tokens, targets, scored, words}: TextWindow,
  dense: Decoder,
  sparse: Decoder,
  thresholdsOff: boolean,
  total: Totals,
  vocabulary: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const rows = Math.max(1, Math.floor(MAX_LOGITS_BYTES / (4 * vocabulary)));
  dense.truncate(0);
  sparse.truncate(0);
  for (let start = 0; start < tokens.length; start += rows) {
    const piece = tokens.slice(start, start + rows);
    const reference = await dense.appendAll(piece, {dense: thresholdsOff});
    const logits = await sparse.appendAll(piece);
    for (let i = Math.max(0, tokens.length - scored - start); i < piece.length; i++) {
      const [from, to] = [i * vocabulary, (i + 1) * vocabulary];
      addPosition(total, reference.subarray(from, to), logits.subarray(from, to), targets[start + i]);
    }
    await tf.nextFrame(); // so that timers and signals get their turn
    signal?.throwIfAborted();
  }
  total.tokens += scored;
  total.words += words;
}

/** Adds one position's likelihoods and divergence, from the logits of both models. */
function addPosition(total: Totals, dense: Float32Array, sparse: Float32Array, target: number): void {
  const [denseBest, sparseBest] = [largest(dense), largest(sparse)];
  let [denseSum, sparseSum, weighted] = [0, 0, 0];
  for (let id = 0; id < dense.length; id++) {
    const weight = Math.exp(dense[id] - dense[denseBest]);
    denseSum += weight;
    weighted += weight * (dense[id] - sparse[id]);
    sparseSum += Math.exp(sparse[id] - sparse[sparseBest]);
  }
  const denseNorm = dense[denseBest] + Math.log(denseSum);
  const sparseNorm = sparse[sparseBest] + Math.log(sparseSum);
  total.logLikelihood.dense += dense[target] - denseNorm;
  total.logLikelihood.sparse += sparse[target] - sparseNorm;
  total.divergence += weighted / denseSum - denseNorm + sparseNorm;
  total.agreeing += denseBest === sparseBest ? 1 : 0;
}

function largest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

function checkComparable(lm: LanguageModel, baseline: LanguageModel | undefined): void {
  if (sparsifyingLayers(lm.model).size === 0) {
    throw new ModelError(
      'not-sparsified',
      'the model has no sparsified layer, so there is nothing to compare: sparsify it first with sparsifyActivations',
    );
  }
  const sizes = [baseline?.config.vocabularySize ?? lm.config.vocabularySize, lm.config.vocabularySize];
  if (sizes[0] === sizes[1]) return;
  throw new ModelError(
    'different-models',
    `the baseline has ${sizes[0]} tokens in its vocabulary, the model ${sizes[1]}: compare models of one tokenizer`,
    {sizes},
  );
}
