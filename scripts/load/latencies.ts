/** @file Quantiles of latencies. */

/** The smallest value that a share of the values does not exceed; milliseconds to two places. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  const value = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? NaN;
  return Math.round(value * 100) / 100;
}
