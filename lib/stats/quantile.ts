/**
 * @file Exact quantiles of |x|, as `numpy.quantile` and `torch.quantile` define them with linear interpolation.
 * Selection by counting, not sorting: one pass counts the upper 16 of the 31 bits of |x|, which finds the bucket
 * that holds the wanted rank; a second counts the lower 15 bits inside that bucket. For data that does not fit
 * in memory, or comes in parts, see `stats/histogram.ts`.
 */
import {SparsifyError} from '../errors.js';
import {ABS_MASK, floatOfBits, inChunks, INFINITY_BITS, viewBits} from './float-bits.js';

const LOW_BITS = 15;
const LOW_MASK = (1 << LOW_BITS) - 1;
const BUCKETS = 1 << 16;
/** Up to here sorting a copy is faster than clearing the counters. */
const MAX_SORTED = 4096;

/**
 * The quantile of |x| at `q`, in float64: with r = q (n - 1), the values at ranks floor(r) and ceil(r),
 * interpolated as `torch.lerp` does. Between a finite and an infinite value the result is Infinity (torch gives
 * NaN from halfway on).
 * @param values at least one value, any shape flattened; not changed.
 * @param q in [0, 1]: 0 is the smallest |x|, 1 the largest.
 * @returns the quantile; NaN if any value is NaN.
 * @throws SparsifyError `no-values` if `values` is empty, `quantile-out-of-range` unless q is in [0, 1].
 */
export function quantileAbs(values: Float32Array, q: number): number {
  checkQuantile(q);
  if (values.length === 0) {
    throw new SparsifyError('no-values', 'the quantile of no values is undefined: give at least one value');
  }
  const rank = q * (values.length - 1);
  const low = Math.floor(rank);
  const pair = values.length <= MAX_SORTED ? sortedPair(values, low) : selectedPair(values, low);
  return pair === null ? NaN : interpolate(pair[0], pair[1], rank - low);
}

/**
 * Checks the order of a quantile.
 * @throws SparsifyError `quantile-out-of-range` unless q is in [0, 1].
 */
export function checkQuantile(q: number): void {
  if (!(q >= 0 && q <= 1)) {
    throw new SparsifyError(
      'quantile-out-of-range',
      `quantile is ${q}; it must lie in [0, 1]: write 0.5 for the median`,
      {q},
    );
  }
}

/**
 * Linear interpolation, symmetric as `torch.lerp`: from the nearer end, so that weights 0 and 1 are exact.
 * @param low,high the ends, low <= high, both >= 0.
 * @param weight in [0, 1].
 */
export function interpolate(low: number, high: number, weight: number): number {
  if (weight === 0 || low === high) {
    return low;
  }
  if (high === Infinity) {
    return Infinity;
  }
  return weight < 0.5 ? low + weight * (high - low) : high - (high - low) * (1 - weight);
}

/** |x| at ranks `rank` and `rank + 1` (the last value twice at the end), or null if there is a NaN. */
type RankedPair = readonly [number, number] | null;

function sortedPair(values: Float32Array, rank: number): RankedPair {
  const sorted = viewBits(values).map((bits) => bits & ABS_MASK);
  sorted.sort();
  const last = sorted.length - 1;
  if (sorted[last] > INFINITY_BITS) {
    return null;
  }
  return [floatOfBits(sorted[rank]), floatOfBits(sorted[Math.min(rank + 1, last)])];
}

function selectedPair(values: Float32Array, rank: number): RankedPair {
  const bits = viewBits(values);
  const counts = new Uint32Array(BUCKETS);
  inChunks(bits.length, (start, end) => countHigh(bits, start, end, counts));
  if (mayHoldNaN(counts) && values.some(Number.isNaN)) {
    return null;
  }
  const {bucket, before} = bucketOfRank(counts, rank);
  const low = countLow(bits, bucket);
  const first = valueIn(bucket, low, rank - before);
  if (rank + 1 < before + counts[bucket]) {
    return [first, valueIn(bucket, low, rank + 1 - before)];
  }
  if (rank + 1 === bits.length) {
    return [first, first];
  }
  const next = bucketOfRank(counts, rank + 1).bucket;
  return [first, valueIn(next, countLow(bits, next), 0)];
}

/** The bucket that holds a rank, and how many values are in the buckets before it. */
function bucketOfRank(counts: Uint32Array, rank: number): {bucket: number; before: number} {
  let bucket = 0;
  let before = 0;
  while (before + counts[bucket] <= rank) {
    before += counts[bucket++];
  }
  return {bucket, before};
}

/** The value at a rank within a bucket. */
function valueIn(bucket: number, low: Uint32Array, rank: number): number {
  return floatOfBits((bucket << LOW_BITS) | bucketOfRank(low, rank).bucket);
}

/** Counts |x| of bits[start, end) by its upper 16 bits. */
function countHigh(bits: Int32Array, start: number, end: number, counts: Uint32Array): void {
  // Four a step: the loop's own cost is half of the time otherwise.
  let i = start;
  for (; i + 3 < end; i += 4) {
    counts[(bits[i] & ABS_MASK) >>> LOW_BITS]++;
    counts[(bits[i + 1] & ABS_MASK) >>> LOW_BITS]++;
    counts[(bits[i + 2] & ABS_MASK) >>> LOW_BITS]++;
    counts[(bits[i + 3] & ABS_MASK) >>> LOW_BITS]++;
  }
  for (; i < end; i++) {
    counts[(bits[i] & ABS_MASK) >>> LOW_BITS]++;
  }
}

/** The lower bits of the values in a bucket, counted. */
function countLow(bits: Int32Array, bucket: number): Uint32Array {
  const low = new Uint32Array(LOW_MASK + 1);
  inChunks(bits.length, (start, end) => countLowChunk(bits, start, end, bucket, low));
  return low;
}

function countLowChunk(bits: Int32Array, start: number, end: number, bucket: number, low: Uint32Array): void {
  for (let i = start; i < end; i++) {
    const abs = bits[i] & ABS_MASK;
    if (abs >>> LOW_BITS === bucket) {
      low[abs & LOW_MASK]++;
    }
  }
}

/** Whether a bucket at or above Infinity's is filled: it holds Infinity or NaN. */
function mayHoldNaN(counts: Uint32Array): boolean {
  return counts.subarray(INFINITY_BITS >>> LOW_BITS).some((count) => count > 0);
}
