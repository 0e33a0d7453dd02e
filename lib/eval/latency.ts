/** @file How long a prediction takes, of several models side by side so that noise of the machine meets all alike. */
import * as tf from '@tensorflow/tfjs';
import {checkOptions, count, type OptionRules} from '../option-rules.js';

export interface LatencyOptions {
  /** Timed rounds; every round runs each model. 60 by default. */
  readonly rounds?: number;
  /** Rounds before, untimed. 10 by default. */
  readonly warmUp?: number;
  /**
   * Predictions of one model in a round, timed as one. 1 by default; a browser's clock may tick only every 0.1 ms, which is as
   * long as a small model takes.
   */
  readonly together?: number;
}

const RULES: OptionRules<LatencyOptions> = {rounds: count(), warmUp: count(0), together: count()};

/**
 * The median time of one prediction, in milliseconds, for each model.
 *
 * @param models They take turns, so that whatever else the machine does meets all alike.
 * @param inputs Input tensors of one call, in the order of the models' inputs; left to the caller.
 * @returns Milliseconds, in the order of the models.
 * @throws {SparsifyError} `unknown-option`, `bad-option`.
 * @example
 * const [denseMs, sparseMs] = await measureLatency([model, sparse], [tf.ones([1, 784])]);
 */
export async function measureLatency(
  models: readonly tf.LayersModel[],
  inputs: tf.Tensor[],
  options: LatencyOptions = {},
): Promise<number[]> {
  checkOptions('measureLatency', options, RULES);
  const {rounds = 60, warmUp = 10, together = 1} = options;
  const times: number[][] = models.map(() => []);
  for (let round = -warmUp; round < rounds; round++) {
    for (const [i, model] of models.entries()) {
      const start = performance.now();
      for (let done = 0; done < together; done++) {
        const outputs = [model.predictOnBatch(inputs.length === 1 ? inputs[0] : inputs)].flat();
        await outputs[0].data();
        tf.dispose(outputs);
      }
      if (round >= 0) times[i].push((performance.now() - start) / together);
    }
  }
  return times.map(median);
}

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
