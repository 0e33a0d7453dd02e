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
 * @param ids Of a text.
 * @throws {DatasetError} `too-short` if there is not one sequence; {SparsifyError} `bad-option`.
 */
export function textDataset(
  ids: readonly number[],
  {sequenceLength = 256, sequences = 64, batchSize = 1}: TextDatasetOptions = {},
): Batches {
  for (const [option, got] of Object.entries({sequenceLength, sequences, batchSize})) {
    if (Number.isInteger(got) && got >= 1) continue;
    throw new SparsifyError('bad-option', `${option} is ${got}; it must be a whole number of 1 or more`, {
      option,
      got,
    });
  }
  const count = Math.min(sequences, Math.floor(ids.length / sequenceLength));
  if (count === 0) {
    throw new DatasetError(
      'too-short',
      `the text has ${ids.length} tokens, and a sequence has ${sequenceLength}: give more text or shorter sequences`,
      {tokens: ids.length, sequenceLength},
    );
  }
  return {
    length: Math.ceil(count / batchSize),
    async *getInferenceData() {
      for (let first = 0; first < count; first += batchSize) {
        const rows = Math.min(batchSize, count - first);
        const values = ids.slice(first * sequenceLength, (first + rows) * sequenceLength);
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
