/** @file What report, model card and command line say in the same words: targets of an allocation, losses, values of a metric. */
import type {Allocation, AllocationTarget, LossMetric} from '../metadata/allocation.js';
import type {Metric} from './report-contents.js';
import {describeMs, percent, significant, times} from './number-format.js';

/** The target in words. */
export function describeTarget(
  {sparsity, maxLoss, speedup, latencyMs}: AllocationTarget,
  metric: Allocation['metric'],
): string {
  const wishes = [
    sparsity === undefined ? [] : `a mean sparsity of ${percent(sparsity)}`,
    maxLoss === undefined ? [] : `at most ${describeLoss(maxLoss, metric)}`,
    speedup === undefined ? [] : `${times(speedup)} the dense speed`,
    latencyMs === undefined ? [] : `${describeMs(latencyMs)} a prediction`,
  ].flat();
  return wishes.join(' and ');
}

/** The number of a loss, or of its error, alone. */
export function describeAmount(loss: number, metric: LossMetric | null): string {
  if (metric === 'accuracy points') return (100 * loss).toFixed(2);
  if (metric === 'KL divergence') return significant(loss);
  return percent(loss, metric === 'relative perplexity' ? 1 : 2);
}

/** A loss in the words of its metric. */
export function describeLoss(loss: number, metric: LossMetric | null): string {
  const amount = describeAmount(loss, metric);
  switch (metric) {
    case 'relative perplexity':
      return `${amount} more perplexity`;
    case 'accuracy points':
      return `${amount} points of accuracy`;
    case 'KL divergence':
      return `${amount} nats`;
    default:
      return amount;
  }
}

/** The value of a metric as the metric is written. */
export function writeMetric({kind}: Metric, value: number): string {
  if (kind === 'share') return percent(value, 2);
  return Math.abs(value) >= 10 ? value.toFixed(2) : value.toPrecision(4);
}
