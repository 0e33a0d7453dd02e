/**
 * @file The running threshold of NNCF's activation sparsity: a bias-corrected exponential average of per-batch
 * thresholds (nncf/torch/function_hook/sparsify_activations, `ActivationsSparsifier`). It does not compute the
 * batch thresholds (`quantile.ts` does) and masks nothing.
 */
import {SparsifyError} from '../errors.js';

/** NNCF's weight of the newest batch. */
const DEFAULT_ALPHA = 0.2;

/** How a running threshold averages. */
export interface RunningThresholdOptions {
  /** Weight of the newest batch, in (0, 1); 0.2 by default. */
  readonly alpha?: number;
  /** Rounds the threshold to the precision of the activations; to float32 (`Math.fround`) by default. */
  readonly round?: (value: number) => number;
}

/**
 * The average of the batch thresholds t seen so far. The first batch gives t itself; with b = 1 - alpha and n
 * batches seen, the next gives (t alpha + value b (1 - b^n)) / (1 - b^(n+1)). As in NNCF, b^n and 1 - b^n are
 * float32 and the result is rounded after each batch.
 *
 * @example
 * const threshold = new RunningThreshold();
 * for (const batch of batches) threshold.update(quantileAbs(batch, 0.5));
 * threshold.value;
 */
export class RunningThreshold {
  readonly alpha: number;
  readonly #round: (value: number) => number;
  #value = -Infinity;
  #batches = 0;

  /**
   * @throws SparsifyError `alpha-out-of-range` unless alpha is in (0, 1).
   */
  constructor({alpha = DEFAULT_ALPHA, round = Math.fround}: RunningThresholdOptions = {}) {
    if (typeof alpha !== 'number' || !(alpha > 0 && alpha < 1)) {
      throw new SparsifyError(
        'alpha-out-of-range',
        `alpha is ${String(alpha)}; it must lie in (0, 1), ends excluded: write ${DEFAULT_ALPHA}, NNCF's default`,
        {alpha},
      );
    }
    this.alpha = alpha;
    this.#round = round;
  }

  /** The threshold; -Infinity, which masks nothing, before the first batch. */
  get value(): number {
    return this.#value;
  }

  /** How many batches were averaged. */
  get batches(): number {
    return this.#batches;
  }

  /**
   * Takes in one batch.
   * @param batchThreshold the batch's own threshold, >= 0; Infinity is taken as it comes.
   * @returns the new value.
   * @throws SparsifyError `threshold-not-a-number` for NaN, `threshold-negative` below 0; nothing changes then.
   *   (NNCF lets a NaN in, and never masks again.)
   */
  update(batchThreshold: number): number {
    if (Number.isNaN(batchThreshold)) {
      throw new SparsifyError(
        'threshold-not-a-number',
        `the threshold of batch ${this.#batches} is NaN, so its activations hold NaN; leave the batch out, or ` +
          'mend its data: the running threshold is unchanged',
        {batch: this.#batches},
      );
    }
    if (!(batchThreshold >= 0)) {
      throw new SparsifyError(
        'threshold-negative',
        `the threshold of batch ${this.#batches} is ${String(batchThreshold)}; a quantile of |x| is a number ` +
          'of at least 0: take it from quantileAbs',
        {batch: this.#batches, threshold: batchThreshold},
      );
    }
    this.#value = this.#round(this.#batches === 0 ? batchThreshold : this.#average(batchThreshold));
    this.#batches++;
    return this.#value;
  }

  /** Forgets all batches. */
  reset(): void {
    this.#value = -Infinity;
    this.#batches = 0;
  }

  #average(threshold: number): number {
    const beta = 1 - this.alpha;
    const old = this.#value * beta * biasCorrection(beta, this.#batches);
    return (threshold * this.alpha + old) / biasCorrection(beta, this.#batches + 1);
  }
}

/** 1 - b^n, in float32. */
function biasCorrection(beta: number, batches: number): number {
  return Math.fround(1 - Math.fround(Math.fround(beta) ** batches));
}
