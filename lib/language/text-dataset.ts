/** @file Text as a data set for calibration: equal pieces of token ids, without padding and without special tokens. */
import * as tf from '@tensorflow/tfjs';
import type {Batches} from '../dataset.js';
import {DatasetError} from '../errors.js';
import {checkOptions, count as counted, type OptionRules} from '../option-rules.js';

export interface TextDatasetOptions {
  /** Ids of a sequence; 256 by default. */
  readonly sequenceLength?: number;
  /** No more than the first so many sequences; 64 by default. */
  readonly sequences?: number;
  /** Sequences in a batch; 1 by default, as NNCF's examples calibrate. */
  readonly batchSize?: number;
}

export const TEXT_DATASET_RULES: OptionRules<TextDatasetOptions> = {
  sequenceLength: counted(),
  sequences: counted(),
  batchSize: counted(),
};

/**
 * Cuts ids into batches int32 [batchSize, sequenceLength] for `sparsifyActivations`; a rest shorter than a sequence is
 * left out. Can be walked again and again; the tensors are lent, each until the next is asked for.
 *
 * @param ids Of a text, or of several, which then take turns sequence by sequence.
 * @throws {DatasetError} `too-short` if there is not one sequence; {SparsifyError} `bad-option`.
 */
export function textDataset(
  ids: readonly number[] | readonly (readonly number[])[],
  options: TextDatasetOptions = {},
): Batches {
  checkOptions('textDataset', options, TEXT_DATASET_RULES);
  const {sequenceLength = 256, sequences = 64, batchSize = 1} = options;
  const texts = isOneText(ids) ? [ids] : ids;
  const starts = firstSequences(texts, sequenceLength, sequences);
  const count = starts.length;
  if (count === 0) {
    const longest = Math.max(0, ...texts.map(({length}) => length));
    throw new DatasetError(
      'too-short',
      `the text has ${longest} tokens, and a sequence has ${sequenceLength}: give more text or shorter sequences`,
      {tokens: longest, sequenceLength},
    );
  }
  return {
    length: Math.ceil(count / batchSize),
    async *getInferenceData() {
      for (let first = 0; first < count; first += batchSize) {
        const rows = Math.min(batchSize, count - first);
        const values = starts.slice(first, first + rows).flatMap(({text, place}) => {
          return texts[text].slice(place * sequenceLength, (place + 1) * sequenceLength);
        });
        const batch = tf.tensor2d(values, [rows, sequenceLength], 'int32');
        try {
          yield await Promise.resolve(batch);
        } finally {
          batch.dispose();
        }
      }
    },
  };
}

/**
 * The sequences that a data set of texts has: of a text that is too short for its turn none, and the others have more.
 *
 * @returns In their order; `place` counts within the text.
 */
export function firstSequences(
  texts: readonly (readonly number[])[],
  sequenceLength: number,
  most: number,
): {text: number; place: number}[] {
  return inTurns(texts.map(({length}) => Math.floor(length / sequenceLength))).slice(0, most);
}

/** Which sequence comes when: the first of each text, then the second of each. */
function inTurns(counts: readonly number[]): {text: number; place: number}[] {
  return Array.from({length: Math.max(0, ...counts)}, (_, place) =>
    counts.flatMap((count, text) => (place < count ? [{text, place}] : [])),
  ).flat();
}

function isOneText(ids: readonly number[] | readonly (readonly number[])[]): ids is readonly number[] {
  return ids.length === 0 || typeof ids[0] === 'number';
}
