/** @file How long a prediction takes, of several models side by side so that noise of the machine meets all alike. */
import * as tf from '@tensorflow/tfjs';

export interface LatencyOptions {
  /** Timed rounds; every round runs each model once. 60 by default. */
  readonly rounds?: number;
  /** Rounds before, untimed. 10 by default. */
  readonly warmUp?: number;
}

/**
 * The median time of one prediction, in milliseconds, for each model.
 *
 * @param inputs Input tensors of one call, in the order of the models' inputs; left to the caller.
 */
export async function measureLatency(
  models: readonly tf.LayersModel[],
  inputs: tf.Tensor[],
  {rounds = 60, warmUp = 10}: LatencyOptions = {},
): Promise<number[]> {
  const times: number[][] = models.map(() => []);
  for (let round = -warmUp; round < rounds; round++) {
    for (const [i, model] of models.entries()) {
      const start = performance.now();
      const outputs = [model.predictOnBatch(inputs.length === 1 ? inputs[0] : inputs)].flat();
      await outputs[0].data();
      const elapsed = performance.now() - start;
      tf.dispose(outputs);
      if (round >= 0) times[i].push(elapsed);
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
