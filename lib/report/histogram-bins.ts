/** @file The histogram of a layer's |x| in few bins for a plot, cut at the threshold so that the masked part is exact. */
import type {AbsHistogram} from '../stats/histogram.js';

/** Values between two magnitudes. */
interface Bin {
  /** Above this. */
  readonly from: number;
  /** Up to and with this. */
  readonly to: number;
  /** Of all values, in [0, 1]. */
  readonly share: number;
  /** Whether the threshold masks them. */
  readonly isMasked: boolean;
}

export interface HistogramBins {
  /** Ascending, without gaps, from 0 on; zeros are in none. Empty if all values are zero. */
  readonly bins: readonly Bin[];
  /** Share of values that are zero, in [0, 1]. */
  readonly zeros: number;
  /** Share of values above the last bin, in [0, 1]: the tail. */
  readonly beyond: number;
}

const BINS = 36;
/** Where the tail begins that is left out: a few outliers would squeeze all others into one bin. */
const LAST_QUANTILE = 0.99;

/**
 * Bins of equal width up to the .99-quantile; the one that holds the threshold is cut there.
 *
 * @param threshold What the layer masks: |x| of at most this. Null or -Infinity masks nothing.
 * @returns Null if the histogram has no values.
 */
export function histogramBins(histogram: AbsHistogram, threshold: number | null): HistogramBins | null {
  if (histogram.count === 0) return null;
  const zeros = histogram.shareAtOrBelow(0);
  const cut = threshold !== null && Number.isFinite(threshold) ? threshold : -Infinity;
  const end = Math.max(histogram.quantile(LAST_QUANTILE), Math.min(cut * 1.1, histogram.max));
  if (!(end > 0) || !Number.isFinite(end)) return {bins: [], zeros, beyond: 1 - zeros};
  const edges = Array.from({length: BINS}, (_, i) => (end * (i + 1)) / BINS);
  if (cut > 0 && cut < end && !edges.includes(cut)) edges.push(cut);
  edges.sort((a, b) => a - b);
  let [from, below] = [0, zeros];
  const bins = edges.map((to): Bin => {
    const upTo = histogram.shareAtOrBelow(to);
    const bin = {from, to, share: upTo - below, isMasked: to <= cut};
    [from, below] = [to, upTo];
    return bin;
  });
  return {bins, zeros, beyond: 1 - below};
}
