/**
 * @file A mergeable histogram of |x|, for quantiles of data too large to keep: buckets are the float32's exponent
 * and upper 8 mantissa bits, so a bucket is at most 1/256 of its value wide whatever the scale. A bucket is open
 * below and closed above: bucket k holds the bit patterns ((k - 1) << 15, k << 15], so zero has bucket 0 to
 * itself, and counts up to a bucket's end are exactly the values that a threshold there masks. Related: HDR
 * histogram (Tene), DDSketch (Masson et al., VLDB 2019). Exact quantiles are in `quantile.ts`.
 */
import {SparsifyError} from '../errors.js';
import {ABS_MASK, bitsOfFloat, floatOfBits, inChunks, INFINITY_BITS, viewBits} from './float-bits.js';
import {
  type HistogramContents,
  type HistogramJSON,
  parseHistogram,
  writeHistogram,
} from './histogram-json.js';
import {checkQuantile, interpolate} from './quantile.js';

const SHIFT = 15;
const WIDTH = 1 << SHIFT;
/** Added before the shift, so that it rounds up: buckets are closed above. */
const ROUND_UP = WIDTH - 1;
/** One more than a NaN's bucket can be. */
const BUCKETS = (1 << 16) + 1;
/** Of Infinity and the largest finite values, which is why its low bits say nothing of the latter. */
const TOP = INFINITY_BITS >>> SHIFT;
/** "No non-zero value yet": above every bit pattern of a finite value. */
const NONE = ABS_MASK;

/** The bits below the shift; which of them were 1 and which 0 in any value of a bucket, as 30 bits, tells single values. */
const LOW = WIDTH - 1;
const ANY_LOW = (LOW << SHIFT) | LOW;

/** From this share of all values on, values that are equal are a tie. */
const TIE_MIN_SHARE = 0.005;
/** With so many, a bucket of several values that towers over its neighbours is a tie too. */
const TIE_MIN_COUNT = 16;
const TIE_MIN_RATIO = 4;
/** So much above the share that is asked for, a tie is rather kept than masked: masking too much costs more. */
const MOST_OVERSHOOT = 0.05;
/** Ties of a smaller share leave no gap to speak of: what is asked for is missed by half of it at most. */
const GAP_MIN_SHARE = 0.05;

/** Equal values, all of which a threshold masks, or none. */
export interface Tie {
  /** |x|; within 0.4 % where others are mixed in. */
  readonly magnitude: number;
  /** Shares of the values that are masked below it, and with it: what lies between is not to be had. */
  readonly from: number;
  readonly to: number;
}

/**
 * A histogram of |x| that gives quantiles within one bucket, at most 0.4 % of the value: 0.2 % where a bucket
 * holds a single value, about 0.01 % for smooth data.
 *
 * The counters take 768 KB of address space; the system commits only what the data touches, 3 KB for each power
 * of two. (float64, exact up to 2^53 values; a window that grows would make `add` half as fast.)
 *
 * @example
 * const histogram = new AbsHistogram();
 * for (const batch of batches) histogram.add(batch);
 * const threshold = histogram.quantile(0.5); // masks half of the values
 */
export class AbsHistogram {
  readonly #counts = new Float64Array(BUCKETS);
  /** Of each bucket: which low bits were 1 (upper half) and which were 0 (lower half) in any of its values. */
  readonly #lows = new Int32Array(BUCKETS);
  /** Bits of the smallest non-zero and of the largest finite |x|. */
  #minBits = NONE;
  #maxBits = 0;
  #finite = 0;
  #infinite = 0;
  #nan = 0;

  /** How many values have a rank: finite and infinite ones, not NaN. */
  get count(): number {
    return this.#finite + this.#infinite;
  }

  /** How many values were zero, of either sign. */
  get zeroCount(): number {
    return this.#counts[0];
  }

  /** How many values were infinite; they rank above all others. */
  get infCount(): number {
    return this.#infinite;
  }

  /** How many values were NaN; they have no rank. */
  get nanCount(): number {
    return this.#nan;
  }

  /** The smallest finite |x| seen, exactly; NaN if there was none. */
  get min(): number {
    if (this.#finite === 0) {
      return NaN;
    }
    return this.zeroCount > 0 ? 0 : floatOfBits(this.#minBits);
  }

  /** The largest finite |x| seen, exactly; NaN if there was none. */
  get max(): number {
    return this.#finite === 0 ? NaN : floatOfBits(this.#maxBits);
  }

  /**
   * Counts values in.
   * @param values activations, any shape flattened; not kept.
   * @param count how many of them to take, from the start; all by default.
   * @throws SparsifyError `count-out-of-range` if `count` is not an integer in [0, values.length].
   */
  add(values: Float32Array, count = values.length): void {
    if (!Number.isInteger(count) || count < 0 || count > values.length) {
      throw new SparsifyError(
        'count-out-of-range',
        `count is ${count}; it must be an integer in [0, ${values.length}], the number of values: leave it out ` +
          'to take them all',
        {count, length: values.length},
      );
    }
    const bits = viewBits(values);
    const extremes = Int32Array.of(this.#minBits, this.#maxBits);
    inChunks(count, (start, end) => countChunk(bits, start, end, this.#counts, this.#lows, extremes));
    const [min, max] = extremes;
    this.#finite += count;
    if (max < INFINITY_BITS) {
      this.#minBits = min;
      this.#maxBits = max;
    } else {
      this.#setApart(bits, count);
    }
  }

  /**
   * Counts another histogram's values in; the same as if its values had been added here.
   * @param other is not changed.
   */
  merge(other: AbsHistogram): void {
    if (other.zeroCount > 0) {
      this.#counts[0] += other.zeroCount;
    }
    for (let k = other.#firstBucket; k <= other.#lastBucket; k++) {
      this.#counts[k] += other.#counts[k];
      this.#lows[k] |= other.#lows[k];
    }
    this.#minBits = Math.min(this.#minBits, other.#minBits);
    this.#maxBits = Math.max(this.#maxBits, other.#maxBits);
    this.#finite += other.#finite;
    this.#infinite += other.#infinite;
    this.#nan += other.#nan;
  }

  /**
   * The threshold that masks a share `q` of the values, as nearly as the data allow: an estimate of
   * `quantileAbs`, interpolated within the bucket.
   *
   * 0 gives the smallest |x| seen and 1 the largest, both exactly; so 0 still masks the smallest value, unless many
   * share it. Where zeros alone are a share of `q` or more the threshold is 0. Where one value stands many times over,
   * the threshold is the end of its bucket that comes nearer to `q`: all of them are masked, or none; and none if all
   * would be more than `q` by over 5 %. `shareAtOrBelow` tells what is reached.
   * @param q in [0, 1].
   * @returns a float32 value, >= 0; Infinity where the rank falls among infinite values.
   * @throws SparsifyError `no-values` if nothing was counted, `quantile-out-of-range` unless q is in [0, 1].
   */
  quantile(q: number): number {
    checkQuantile(q);
    const count = this.#countOrThrow();
    if (this.zeroCount > 0 && this.zeroCount >= q * count) {
      return 0;
    }
    const rank = q * (count - 1);
    const below = Math.floor(rank);
    const low = this.#valueAt(below, q);
    if (below === rank) {
      return Math.fround(low);
    }
    const high = this.#valueAt(below + 1, q);
    // Between the finite values and the infinite ones, the largest finite value masks what is asked for.
    return Math.fround(high === Infinity ? low : interpolate(low, Math.max(low, high), rank - below));
  }

  /**
   * The share of values that a threshold masks: those with |x| <= threshold, of all but NaN.
   * @param threshold any number; below 0 and NaN mask nothing.
   * @returns a share in [0, 1]; exact at 0, at bucket ends and outside the values seen.
   * @throws SparsifyError `no-values` if nothing was counted.
   */
  shareAtOrBelow(threshold: number): number {
    const count = this.#countOrThrow();
    if (!(threshold >= 0)) {
      return 0;
    }
    if (threshold === Infinity) {
      return 1;
    }
    const bits = bitsAtOrBelow(threshold);
    // Stryker disable next-line EqualityOperator: at the largest value the sum over the buckets is that of all, too
    if (bits >= this.#maxBits) {
      return this.#finite / count;
    }
    let masked = this.zeroCount;
    if (bits >= this.#minBits) {
      const bucket = bucketOf(bits);
      for (let k = this.#firstBucket; k < bucket; k++) {
        masked += this.#counts[k];
      }
      const [start, end] = this.#boundsOf(bucket);
      const single = this.#singleIn(bucket);
      if (single !== null) masked += bits >= single ? this.#counts[bucket] : 0;
      else if (this.#isTie(bucket))
        masked += this.#counts[bucket]; // where in the bucket is unknown: say the worse
      else masked += this.#counts[bucket] * (end === start ? 1 : (bits - start) / (end - start));
    }
    return masked / count;
  }

  /** The share of values that are zero, which a threshold of 0 masks; 0 if nothing was counted. */
  get zeroShare(): number {
    return this.count === 0 ? 0 : this.zeroCount / this.count;
  }

  /** The ties other than zero of 5 % of the values and more, by rising magnitude. */
  ties(): Tie[] {
    const ties: Tie[] = [];
    let before = this.zeroCount;
    for (let k = this.#firstBucket; k <= this.#lastBucket; k++) {
      const count = this.#counts[k];
      if (count >= GAP_MIN_SHARE * this.count && this.#isTie(k)) {
        const magnitude = floatOfBits(this.#singleIn(k) ?? Math.min(k * WIDTH, this.#maxBits));
        ties.push({magnitude, from: before / this.count, to: (before + count) / this.count});
      }
      before += count;
    }
    return ties;
  }

  /** A copy that shares nothing. */
  clone(): AbsHistogram {
    const copy = new AbsHistogram();
    copy.merge(this);
    return copy;
  }

  /** The histogram as plain JSON, 2 to 10 KB as a rule. */
  toJSON(): HistogramJSON {
    return writeHistogram({
      zeros: this.zeroCount,
      infinite: this.#infinite,
      nan: this.#nan,
      min: this.#minBits === NONE ? null : floatOfBits(this.#minBits),
      max: this.#minBits === NONE ? null : floatOfBits(this.#maxBits),
      counts: this.#counts.subarray(this.#firstBucket, this.#lastBucket + 1),
      singles: this.#singles(),
    });
  }

  /**
   * The histogram that `toJSON` wrote.
   * @param json parsed JSON from anywhere; nothing in it is trusted.
   * @throws SparsifyError `invalid-histogram` if it is not a histogram, contradicts itself or has another version.
   */
  static fromJSON(json: unknown): AbsHistogram {
    const contents: HistogramContents = parseHistogram(json, (value) => bucketOf(bitsOfFloat(value)));
    const histogram = new AbsHistogram();
    histogram.#counts[0] = contents.zeros;
    histogram.#finite = contents.zeros;
    histogram.#infinite = contents.infinite;
    histogram.#nan = contents.nan;
    if (contents.min !== null && contents.max !== null) {
      histogram.#minBits = bitsOfFloat(contents.min);
      histogram.#maxBits = bitsOfFloat(contents.max);
      histogram.#counts.set(contents.counts, histogram.#firstBucket);
      contents.counts.forEach((n, i) => {
        if (n > 0) histogram.#lows[histogram.#firstBucket + i] = ANY_LOW;
      });
      for (const bits of contents.singles.map(bitsOfFloat)) histogram.#lows[bucketOf(bits)] = lowsOf(bits);
      histogram.#finite = contents.counts.reduce((sum, n) => sum + n, contents.zeros);
    }
    return histogram;
  }

  get #firstBucket(): number {
    return bucketOf(this.#minBits);
  }

  /** Below `#firstBucket` if no non-zero value was seen. */
  get #lastBucket(): number {
    return bucketOf(this.#maxBits);
  }

  /** Takes what is not finite out of the counts again, and finds the extremes of what is. Rare, so not fast. */
  #setApart(bits: Int32Array, count: number): void {
    for (let i = 0; i < count; i++) {
      const abs = bits[i] & ABS_MASK;
      if (abs >= INFINITY_BITS) {
        this.#counts[(abs + ROUND_UP) >>> SHIFT]--;
        this.#finite--;
        if (abs === INFINITY_BITS) {
          this.#infinite++;
        } else {
          this.#nan++;
        }
      } else if (abs > 0) {
        this.#minBits = Math.min(this.#minBits, abs);
        this.#maxBits = Math.max(this.#maxBits, abs);
      }
    }
  }

  /** An estimate of the value at a rank, on the way to the quantile `q`. */
  #valueAt(rank: number, q: number): number {
    if (rank >= this.#finite) {
      return Infinity;
    }
    let before = this.zeroCount;
    if (rank < before) {
      return 0;
    }
    let bucket = this.#firstBucket;
    while (before + this.#counts[bucket] <= rank) {
      before += this.#counts[bucket++];
    }
    const count = this.#counts[bucket];
    if (this.#isTie(bucket)) {
      const wanted = q * this.count - before;
      const overshoot = Math.max(MOST_OVERSHOOT * this.count, 1); // one value, where there are few
      const masks = wanted >= count / 2 && count - wanted <= overshoot;
      if (!masks || rank < this.#finite - 1) return floatOfBits((masks ? bucket : bucket - 1) * WIDTH);
    }
    if (rank === this.zeroCount) return floatOfBits(this.#minBits);
    if (rank === this.#finite - 1) return this.max;
    const single = this.#singleIn(bucket);
    if (single !== null) return floatOfBits(single);
    const [start, end] = this.#boundsOf(bucket);
    return floatOfBits(Math.round(start + ((end - start) * (rank - before + 0.5)) / count));
  }

  /**
   * The bits of the only value in a bucket, once or several times; null if it holds several, or too small a share of all
   * values for the difference to matter, which is not saved.
   */
  #singleIn(bucket: number): number | null {
    const count = this.#counts[bucket];
    if (count === 0 || count < TIE_MIN_SHARE * this.count || bucket === TOP) return null;
    const lows = this.#lows[bucket];
    const low = lows >> SHIFT;
    if ((low ^ (lows & LOW)) !== LOW) return null;
    return low === 0 ? bucket * WIDTH : (bucket - 1) * WIDTH + low;
  }

  /** The values that are alone in their bucket, rising. */
  #singles(): number[] {
    const values: number[] = [];
    for (let k = this.#firstBucket; k <= this.#lastBucket; k++) {
      const single = this.#singleIn(k);
      if (single !== null) values.push(floatOfBits(single));
    }
    return values;
  }

  /**
   * Whether a bucket holds one value several times, or most likely does so beside others: it is heavy, and its
   * neighbours are not.
   */
  #isTie(bucket: number): boolean {
    const count = this.#counts[bucket];
    if (count < 2 || count < TIE_MIN_SHARE * this.count) return false;
    if (this.#singleIn(bucket) !== null) return true;
    const beside = Math.max(bucket > 1 ? this.#counts[bucket - 1] : 0, this.#counts[bucket + 1]);
    return count >= TIE_MIN_COUNT && count > TIE_MIN_RATIO * beside;
  }

  /** The bits between which a bucket's values lie, narrowed by the extremes. */
  #boundsOf(bucket: number): [number, number] {
    return [Math.max((bucket - 1) * WIDTH, this.#minBits), Math.min(bucket * WIDTH, this.#maxBits)];
  }

  #countOrThrow(): number {
    if (this.count === 0) {
      const what = this.#nan > 0 ? `only NaN (${this.#nan} values)` : 'no values';
      throw new SparsifyError('no-values', `the histogram holds ${what}: add activations first`, {
        nan: this.#nan,
      });
    }
    return this.count;
  }
}

/**
 * Counts |x| of bits[start, end) into buckets, notes their low bits, and widens the extremes [smallest non-zero,
 * largest], NaN and Infinity taken for large numbers.
 */
function countChunk(
  bits: Int32Array,
  start: number,
  end: number,
  counts: Float64Array,
  lows: Int32Array,
  extremes: Int32Array,
): void {
  // (bits - 1) & ABS_MASK makes zero the largest value, so that it is no minimum.
  let min = extremes[0] - 1;
  let max = extremes[1];
  // Four a step: the loop's own cost is half of the time otherwise.
  let i = start;
  for (; i + 3 < end; i += 4) {
    const a = bits[i] & ABS_MASK;
    const b = bits[i + 1] & ABS_MASK;
    const c = bits[i + 2] & ABS_MASK;
    const d = bits[i + 3] & ABS_MASK;
    if (a > max) max = a;
    if (b > max) max = b;
    if (c > max) max = c;
    if (d > max) max = d;
    if (((a - 1) & ABS_MASK) < min) min = a - 1;
    if (((b - 1) & ABS_MASK) < min) min = b - 1;
    if (((c - 1) & ABS_MASK) < min) min = c - 1;
    if (((d - 1) & ABS_MASK) < min) min = d - 1;
    const p = (a + ROUND_UP) >>> SHIFT;
    const q = (b + ROUND_UP) >>> SHIFT;
    const r = (c + ROUND_UP) >>> SHIFT;
    const s = (d + ROUND_UP) >>> SHIFT;
    counts[p]++;
    counts[q]++;
    counts[r]++;
    counts[s]++;
    lows[p] |= lowsOf(a);
    lows[q] |= lowsOf(b);
    lows[r] |= lowsOf(c);
    lows[s] |= lowsOf(d);
  }
  for (; i < end; i++) {
    const a = bits[i] & ABS_MASK;
    if (a > max) max = a;
    if (((a - 1) & ABS_MASK) < min) min = a - 1;
    counts[bucketOf(a)]++;
    lows[bucketOf(a)] |= lowsOf(a);
  }
  extremes[0] = min + 1;
  extremes[1] = max;
}

function bucketOf(bits: number): number {
  return (bits + ROUND_UP) >>> SHIFT;
}

/** The low bits that are 1, then those that are 0. */
function lowsOf(bits: number): number {
  const low = bits & LOW;
  return ((low << SHIFT) | low) ^ LOW;
}

/** The bits of the largest float32 that is not above `value`. */
function bitsAtOrBelow(value: number): number {
  const bits = bitsOfFloat(value);
  return floatOfBits(bits) > value ? bits - 1 : bits;
}
