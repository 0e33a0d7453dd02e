/** @file Text as a data set for calibration: equal pieces of token ids, without padding and without special tokens. */
import * as tf from '@tensorflow/tfjs';
import type {Batches} from '../../lib/dataset.js';
import {DatasetError, SparsifyError} from '../../lib/errors.js';

export interface TextDatasetOptions {
  /** Ids of a sequence; 256 by default. */
  readonly sequenceLength?: number;
  /** No more than the first so many sequences; 64 by default. */
  readonly sequences?: number;
  /** Sequences in a batch; 1 by default, as NNCF's examples calibrate. */
  readonly batchSize?: number;
}

/**
 * Cuts ids into batches int32 [batchSize, sequenceLength] for `sparsifyActivations`; a rest shorter than a sequence is
 * left out. Can be walked again and again; the tensors are lent, each until the next is asked for.
 *
 * @param ids Of a text, or of several, which then take turns sequence by sequence.
 * @throws {DatasetError} `too-short` if there is not one sequence; {SparsifyError} `bad-option`.
 */
export function textDataset(
  ids: readonly number[] | readonly (readonly number[])[],
  {sequenceLength = 256, sequences = 64, batchSize = 1}: TextDatasetOptions = {},
): Batches {
  for (const [option, got] of Object.entries({sequenceLength, sequences, batchSize})) {
    if (Number.isInteger(got) && got >= 1) continue;
    throw new SparsifyError('bad-option', `${option} is ${got}; it must be a whole number of 1 or more`, {
      option,
      got,
    });
  }
  const texts = isOneText(ids) ? [ids] : ids;
  const starts = inTurns(texts.map(({length}) => Math.floor(length / sequenceLength)));
  const count = Math.min(sequences, starts.length);
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

/** Which sequence comes when: the first of each text, then the second of each. */
function inTurns(counts: readonly number[]): {text: number; place: number}[] {
  return Array.from({length: Math.max(0, ...counts)}, (_, place) =>
    counts.flatMap((count, text) => (place < count ? [{text, place}] : [])),
  ).flat();
}

function isOneText(ids: readonly number[] | readonly (readonly number[])[]): ids is readonly number[] {
  return ids.length === 0 || typeof ids[0] === 'number';
}
