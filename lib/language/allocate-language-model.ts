/** @file Allocation for a language model and a text: what is held out, what a loss is, and how fast tokens come. */
import {ALLOCATE_RULES, allocateSparsity, type AllocateOptions} from '../allocate.js';
import type {Allocation} from '../metadata/allocation.js';
import {LOSS_RULES, MEASURE_RULES} from '../allocation/allocation-options.js';
import type {LossMeasure, MeasuredLoss, SpeedMeasure} from '../allocation/measures.js';
import type {CalibrationOptions} from '../calibration/calibrate.js';
import {DatasetError} from '../errors.js';
import {checkOptions, count, type OptionRules} from '../option-rules.js';
import {TargetScope} from '../scope/target-scope.js';
import {measureDecodeLatency} from './decode-latency.js';
import type {Decoder} from './decoding/decoder.js';
import type {LanguageModel} from './language-model.js';
import {PROJECTIONS} from './projections.js';
import {firstSequences, textDataset} from './text-dataset.js';
import {tokenChunks, type Window} from './evaluation/windows.js';

/**
 * How thresholds of language models are found unless one says otherwise: layer by layer, the first position of a sequence
 * left out, whose activations are of another kind; it is masked all the same.
 */
export const LANGUAGE_CALIBRATION: CalibrationOptions = {method: 'sequential', skipLeadingTokens: 1};

/** Tokens that thresholds are found on: more change them by less than texts differ. */
export const ALLOCATION_SEQUENCES = {sequences: 8, sequenceLength: 256} as const;

export interface AllocateTextOptions extends Omit<AllocateOptions, 'heldOut' | 'labels'> {
  /** Sequences of the text to calibrate on; 8 by default. The first one is probed. */
  readonly sequences?: number;
  /** Tokens of a sequence; 256 by default. */
  readonly sequenceLength?: number;
  /** Tokens at the end of the text that a loss is measured on, at most; 8,192 by default, 256 at least. */
  readonly heldOutTokens?: number;
}

/** Tokens of a sequence that is probed: more gain nothing. */
const PROBED_TOKENS = 128;
const HELD_OUT_TOKENS = 8192;
const HELD_OUT_WINDOW = 1024;
/** In all, and of each text while there are others. */
const LEAST_HELD_OUT = 256;
/** Tokens that are timed of each model: with 32 a repetition differs by 5 %. */
const TIMED_TOKENS = 96;

const {heldOut: _heldOut, labels: _labels, ...SHARED_RULES} = ALLOCATE_RULES;

/** Of what of a text is used for what. */
export const TEXT_SHARE_RULES: OptionRules<
  Pick<AllocateTextOptions, 'sequences' | 'sequenceLength' | 'heldOutTokens'>
> = {
  sequences: count(),
  sequenceLength: count(),
  heldOutTokens: count(LEAST_HELD_OUT),
};

const RULES: OptionRules<AllocateTextOptions> = {...SHARED_RULES, ...TEXT_SHARE_RULES};

/**
 * `allocateSparsity` for a language model: the loss is relative perplexity on the end of the text, the speed that of
 * decoding one token, and all projections of the decoder blocks share the sparsity unless `scopes` says otherwise.
 *
 * @param text As for `LanguageModel.dataset`; its first sequences calibrate, its end is held out.
 * @returns Calibrate in the same way: `lm.dataset(text, ALLOCATION_SEQUENCES)` with `calibration: LANGUAGE_CALIBRATION`.
 * @throws As `allocateSparsity`; {DatasetError} `too-short` if too little text is left to measure a loss on.
 * @example
 * const allocation = await allocateLanguageModel(lm, text, {target: {maxLoss: 0.02}});
 * const sparse = await sparsifyActivations(lm.model, lm.dataset(text, ALLOCATION_SEQUENCES), {
 *   targetSparsityByScope: allocation,
 *   calibration: LANGUAGE_CALIBRATION,
 * });
 */
export async function allocateLanguageModel(
  lm: LanguageModel,
  text: string | readonly string[] | readonly number[],
  options: AllocateTextOptions,
): Promise<Allocation> {
  checkOptions('allocateLanguageModel', options, RULES);
  const asksLoss = typeof options.target === 'object' && options.target?.maxLoss !== undefined;
  const {dataset, ...rest} = textMeasures(lm, text, options, asksLoss);
  return allocateSparsity(lm.model, dataset, rest);
}

/** What of an allocation follows from the text that it is made on. */
export type TextOptions = Omit<AllocateTextOptions, 'target' | 'onProgress'>;

/**
 * The data set and the options of an allocation on a text, with the defaults of a language model.
 *
 * @param asksLoss Whether a loss is to be measured: the end of the text is held out then.
 * @throws {DatasetError} `too-short`.
 */
export function textMeasures<Options extends TextOptions>(
  lm: LanguageModel,
  text: string | readonly string[] | readonly number[],
  options: Options,
  asksLoss: boolean,
) {
  const {
    sequences = ALLOCATION_SEQUENCES.sequences,
    sequenceLength = ALLOCATION_SEQUENCES.sequenceLength,
    heldOutTokens = HELD_OUT_TOKENS,
    ...rest
  } = options;
  const texts = lm.idsOf(text);
  const dataset = textDataset(texts, {sequences, sequenceLength});
  const calibrated = firstSequences(texts, sequenceLength, sequences);
  const unseenLoss = () => {
    const window = Math.min(HELD_OUT_WINDOW, lm.config.contextLength);
    const unseen = unseenOf(texts, calibrated, sequenceLength);
    return perplexityLoss(lm, heldOutWindows(unseen, heldOutTokens, window, lm.prefixToken()));
  };
  return {
    ...rest,
    dataset,
    scopes: rest.scopes ?? new TargetScope({patterns: [PROJECTIONS.all]}),
    calibration: rest.calibration ?? LANGUAGE_CALIBRATION,
    probeData:
      rest.probeData ??
      textDataset(texts[calibrated[0].text], {
        sequences: 1,
        sequenceLength: Math.min(PROBED_TOKENS, sequenceLength),
      }),
    speed: rest.speed ?? decodingSpeed(lm),
    loss: rest.loss ?? (asksLoss ? unseenLoss() : undefined),
  };
}

/**
 * Relative perplexity over windows, which are scored token by token, dense and sparse.
 *
 * @param lm The dense model, or one whose thresholds are then off; must outlive the measure.
 */
export function perplexityLoss(lm: LanguageModel, windows: readonly Window[]): LossMeasure {
  const dense: Float32Array[] = []; // scores, by window
  return {
    metric: 'relative perplexity',
    async measure(sparse, options = {}) {
      checkOptions('measure', options, LOSS_RULES);
      const {onProgress, signal, isClear} = options;
      const decoders = {dense: lm.decoder(), sparse: lm.withModel(sparse).decoder()};
      const scores = async (decoder: Decoder, {tokens, targets}: Window, isDense: boolean) => {
        signal?.throwIfAborted();
        decoder.truncate(0);
        return Float32Array.from(await decoder.score(tokens, targets, {dense: isDense}));
      };
      try {
        const differences: number[] = [];
        for (const [i, window] of windows.entries()) {
          dense[i] ??= await scores(decoders.dense, window, true);
          const got = await scores(decoders.sparse, window, false);
          got.forEach((score, j) => differences.push(dense[i][j] - score));
          onProgress?.({done: i + 1, total: windows.length});
          if (isClear?.(relativePerplexity(differences)) === true) break;
        }
        return relativePerplexity(differences);
      } finally {
        decoders.dense.dispose();
        decoders.sparse.dispose();
      }
    },
  };
}

/** From differences of log likelihoods, dense minus sparse. */
function relativePerplexity(differences: readonly number[]): MeasuredLoss {
  const {length} = differences;
  const mean = differences.reduce((sum, value) => sum + value, 0) / length;
  const squares = differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / length;
  const error = Math.sqrt(squares / Math.max(1, length - 1));
  return {loss: Math.expm1(mean), error: error * Math.exp(mean)};
}

/** Milliseconds of a token while decoding. */
export function decodingSpeed(lm: LanguageModel): SpeedMeasure {
  return {
    async measure(sparse, options = {}) {
      checkOptions('measure', options, MEASURE_RULES);
      const {signal} = options;
      const [denseMs, ms] = await measureDecodeLatency(
        [
          {lm, dense: true},
          {lm: lm.withModel(sparse), dense: false},
        ],
        {tokens: TIMED_TOKENS, signal},
      );
      return {denseMs, ms};
    },
  };
}

/**
 * What calibration leaves of each text.
 *
 * @param calibrated The sequences that it takes: more of a long text where others are too short.
 */
function unseenOf(
  texts: readonly (readonly number[])[],
  calibrated: readonly {readonly text: number}[],
  sequenceLength: number,
): (readonly number[])[] {
  const seen = texts.map(() => 0);
  for (const {text} of calibrated) seen[text] += sequenceLength;
  return texts.map((ids, i) => ids.slice(seen[i]));
}

/**
 * The ends of texts in windows.
 *
 * @param unseen What calibration leaves of each.
 * @param most Tokens in all.
 */
function heldOutWindows(
  unseen: readonly (readonly number[])[],
  most: number,
  window: number,
  prefix: number,
): Window[] {
  const each = Math.max(LEAST_HELD_OUT, Math.floor(most / unseen.length));
  const ends: (readonly number[])[] = [];
  let tokens = 0;
  for (const ids of unseen) {
    const end = ids.slice(Math.max(0, ids.length - Math.min(each, most - tokens)));
    ends.push(end);
    tokens += end.length;
  }
  if (tokens >= LEAST_HELD_OUT) return ends.flatMap((ids) => tokenChunks(ids, prefix, window - 1));
  throw new DatasetError(
    'too-short',
    `${tokens} tokens of the text are left to measure a loss on, after those for calibration; at least ${LEAST_HELD_OUT} are ` +
      'needed, and thousands are better: give more text, or fewer sequences',
    {tokens},
  );
}
