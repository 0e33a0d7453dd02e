import {expect} from 'chai';
import fc from 'fast-check';

import {SparsifyError} from '../../lib/errors.js';
import {AbsHistogram} from '../../lib/stats/histogram.js';
import {quantileAbs} from '../../lib/stats/quantile.js';
import {normals} from '../support/normals.js';

/** A bucket is one of 256 of its octave: this is its width relative to its values. */
const BUCKET = 2 ** -8;
/** Buckets of denormals are this wide. */
const DENORMAL_BUCKET = 2 ** (15 - 149);

const anyFloat = fc.oneof(
  fc.float({noNaN: true}),
  fc.float({min: -1, max: 1, noNaN: true}),
  fc.constantFrom(0, -0, 1, -1, 0.5, 3.4028234663852886e38, 2 ** -149, Infinity, NaN),
);
const finiteFloat = fc.float({noNaN: true, noDefaultInfinity: true});
const share = fc.double({min: 0, max: 1, noNaN: true});

function histogramOf(...parts: Float32Array[]): AbsHistogram {
  const histogram = new AbsHistogram();
  for (const part of parts) {
    histogram.add(part);
  }
  return histogram;
}

function maskedShare(values: Float32Array, threshold: number): number {
  return values.reduce((count, x) => count + (Math.abs(x) <= threshold ? 1 : 0), 0) / values.length;
}

describe('AbsHistogram', () => {
  describe('add', () => {
    it('counts zeros, infinities and NaN apart', () => {
      const histogram = histogramOf(Float32Array.of(0, -0, 1, -Infinity, NaN, NaN, 2, Infinity));
      expect(histogram).to.include({count: 6, zeroCount: 2, infCount: 2, nanCount: 2, min: 0, max: 2});
    });
    it('keeps the exact extremes', () => {
      const histogram = histogramOf(Float32Array.of(-0.3, 7.77, 0.1, Infinity));
      expect(histogram.min).to.equal(Math.fround(0.1));
      expect(histogram.max).to.equal(Math.fround(7.77));
    });
    it('has no extremes before the first value', () => {
      expect(new AbsHistogram().min).to.be.NaN;
      expect(histogramOf(Float32Array.of(NaN, Infinity)).max).to.be.NaN;
    });
    it('takes the first `count` values', () => {
      const histogram = new AbsHistogram();
      histogram.add(Float32Array.of(1, 2, 3, 4, 5, 6, 7), 5);
      expect(histogram).to.include({count: 5, max: 5});
      histogram.add(Float32Array.of(9), 0);
      expect(histogram.count).to.equal(5);
    });
    for (const count of [-1, 3, 1.5, NaN]) {
      it(`rejects ${count} of 2 values`, () => {
        expect(() => new AbsHistogram().add(new Float32Array(2), count)).to.throw('an integer in [0, 2]');
      });
    }
    it('takes a view into a larger buffer', () => {
      expect(histogramOf(Float32Array.of(9, 1, 2, 9).subarray(1, 3)).max).to.equal(2);
    });
    it('is the same in parts, in any order, and merged', () => {
      fc.assert(
        fc.property(fc.array(anyFloat, {maxLength: 60}), fc.nat(), (array, at) => {
          const cut = array.length === 0 ? 0 : at % array.length;
          const whole = histogramOf(Float32Array.from(array));
          const head = histogramOf(Float32Array.from(array.slice(0, cut)));
          const tail = histogramOf(Float32Array.from(array.slice(cut)));
          const parts = head.clone();
          parts.add(Float32Array.from(array.slice(cut)));
          const backwards = tail.clone();
          backwards.merge(head);
          head.merge(tail);
          const expected = whole.toJSON();
          expect(head.toJSON()).to.deep.equal(expected);
          expect(parts.toJSON()).to.deep.equal(expected);
          expect(backwards.toJSON()).to.deep.equal(expected);
        }),
      );
    });
    it('merges with itself', () => {
      const histogram = histogramOf(Float32Array.of(0, 1, NaN));
      histogram.merge(histogram);
      expect(histogram).to.include({count: 4, zeroCount: 2, nanCount: 2});
    });
    it('finds extremes and what is not finite anywhere in a long batch', () => {
      const values = normals(50_000, 1).map((x) => x + 0.001 * Math.sign(x));
      values[20_001] = -77;
      values[33_333] = NaN;
      values[40_000] = 1e-5;
      values[49_999] = Infinity;
      const histogram = histogramOf(values);
      expect(histogram).to.include({count: 49_999, nanCount: 1, infCount: 1, max: 77});
      expect(histogram.min).to.equal(Math.fround(1e-5));
    });
  });

  describe('quantile', () => {
    it('is within a bucket of the exact one', () => {
      fc.assert(
        fc.property(fc.array(finiteFloat, {minLength: 1, maxLength: 100}), share, (array, q) => {
          const values = Float32Array.from(array);
          const exact = quantileAbs(values, q);
          const histogram = histogramOf(values);
          const estimate = histogram.quantile(q);
          if (histogram.zeroCount > 0 && histogram.zeroCount >= q * histogram.count) {
            expect(estimate).to.equal(0);
          } else {
            // Half a float32 step more: the estimate is rounded to float32.
            expect(Math.abs(estimate - exact)).to.be.at.most(exact * (BUCKET + 2 ** -24) + DENORMAL_BUCKET);
          }
          expect(Math.fround(estimate)).to.equal(estimate);
        }),
        {numRuns: 500},
      );
    });
    it('is a value that is alone in its bucket, exactly', () => {
      for (const x of [0.1, 0.3, 1, 1.9, 300]) {
        expect(histogramOf(Float32Array.of(x / 8, x, x * 8)).quantile(0.5)).to.equal(Math.fround(x));
      }
    });
    it('spreads the values of a bucket evenly over it', () => {
      // Four in the bucket above 1, each in the middle of a quarter of it; the ranks before them are taken by 50.
      const inside = [1, 3, 5, 7].map((eighth) => 1 + (eighth / 8) * BUCKET);
      const others = Array.from({length: 101}, (_, i) => (i < 50 ? 0.1 : 8) * 1.02 ** (i % 50));
      const histogram = histogramOf(Float32Array.from([...inside, ...others]));
      inside.forEach((value, i) => {
        expect(histogram.quantile((50 + i) / 104)).to.be.closeTo(value, BUCKET / 100);
      });
    });
    it('is within half a bucket for a value alone in its bucket', () => {
      for (const x of [0.1, 0.3, 1, 1.9, 300]) {
        const values = Float32Array.of(x / 8, x, x * 8);
        expect(histogramOf(values).quantile(0.5)).to.be.closeTo(x, (x * BUCKET) / 2 + x * 2 ** -24);
      }
    });
    for (const q of [0.1, 0.3, 0.5, 0.7, 0.9, 0.99]) {
      it(`masks a share of ${q} of normal values`, () => {
        const values = normals(200_000, 7);
        // A bucket near the median holds about 0.1 % of the values.
        expect(maskedShare(values, histogramOf(values).quantile(q))).to.be.closeTo(q, 0.001);
      });
    }
    it('masks a share of narrowly spread values, many to a bucket', () => {
      const values = normals(100_000, 3).map((x) => 5 + 0.05 * x);
      for (const q of [0.2, 0.5, 0.8]) {
        expect(maskedShare(values, histogramOf(values).quantile(q))).to.be.closeTo(q, 0.01);
      }
    });
    it('gives the exact smallest value at 0 and the largest at 1', () => {
      const histogram = histogramOf(Float32Array.of(0.3, -5.55, 1));
      expect(histogram.quantile(0)).to.equal(Math.fround(0.3));
      expect(histogram.quantile(1)).to.equal(Math.fround(5.55));
    });
    it('does so amid other values of their buckets', () => {
      const values = Array.from({length: 10}, (_, i) => 0.3 + 1e-5 * i);
      const histogram = histogramOf(Float32Array.from([...values, ...values.map((x) => 2 * x)]));
      expect(histogram.quantile(0)).to.equal(Math.fround(0.3));
      expect(histogram.quantile(1)).to.equal(Math.fround(2 * values[9]));
    });
    it('keeps a small tie where that is nearer', () => {
      const values = Float32Array.from({length: 1000}, (_, i) =>
        i < 480 ? i / 1000 : i < 520 ? 0.6 : i / 800,
      );
      const histogram = histogramOf(values);
      expect(maskedShare(values, histogram.quantile(0.485))).to.be.closeTo(0.48, 1e-9);
      expect(maskedShare(values, histogram.quantile(0.505))).to.be.closeTo(0.52, 1e-9);
    });
    it('is 0 while zeros alone are the share asked for', () => {
      const histogram = histogramOf(Float32Array.of(0, 0, 0, 0, 0, 1, 2, 3, 4, 5));
      expect(histogram.quantile(0.3)).to.equal(0);
      expect(histogram.quantile(0.5)).to.equal(0);
      expect(histogram.quantile(0.7)).to.be.greaterThan(0);
    });
    it('interpolates between zero and the first value above it', () => {
      const histogram = histogramOf(Float32Array.of(0, 0, 0, 4, 5, 6, 7, 8, 9, 10));
      // Rank 2.79: 79 % of the way from 0 to 4, which is known to a bucket.
      expect(histogram.quantile(0.31)).to.be.closeTo(0.79 * 4, 4 * BUCKET);
    });
    it('does not take the smallest numbers for zeros', () => {
      const histogram = histogramOf(new Float32Array(10).fill(2 ** -149));
      expect(histogram.zeroCount).to.equal(0);
      expect(histogram.quantile(0.5)).to.equal(0); // masks none of them: all would be twice what is asked for
      expect(histogram.quantile(1)).to.equal(2 ** -149);
    });
    it('masks all of a value that many share, or none, whichever is nearer, and never 5 % too many', () => {
      const values = Float32Array.from({length: 1000}, (_, i) => (i < 400 ? 0.3 : 1 + i / 100));
      const histogram = histogramOf(values);
      for (const [q, masked] of [
        [0, 0],
        [0.1, 0],
        [0.3, 0],
        [0.349, 0],
        [0.351, 0.4],
        [0.4, 0.4],
        [0.402, 0.402],
      ]) {
        expect(maskedShare(values, histogram.quantile(q)), String(q)).to.be.closeTo(masked, 0.0011);
      }
      expect(histogram.quantile(0.36)).to.be.closeTo(0.3, 0.3 * BUCKET);
    });
    it('ranks infinities above all, and masks them only when asked for', () => {
      const histogram = histogramOf(Float32Array.of(1, 2, Infinity, Infinity));
      expect(histogram.quantile(0.5)).to.equal(2);
      expect(histogram.quantile(1)).to.equal(Infinity);
    });
    it('is monotonic', () => {
      fc.assert(
        fc.property(fc.array(finiteFloat, {minLength: 1, maxLength: 50}), share, share, (array, a, b) => {
          const histogram = histogramOf(Float32Array.from(array));
          return histogram.quantile(Math.min(a, b)) <= histogram.quantile(Math.max(a, b));
        }),
      );
    });
    it('rejects a quantile outside [0, 1]', () => {
      expect(() => histogramOf(Float32Array.of(1)).quantile(1.5)).to.throw('quantile is 1.5');
    });
    it('rejects an empty histogram', () => {
      expect(() => new AbsHistogram().quantile(0.5)).to.throw('the histogram holds no values');
      expect(() => histogramOf(Float32Array.of(NaN)).quantile(0.5)).to.throw('only NaN (1 values)');
    });
  });

  describe('ties, of which a threshold masks all or none', () => {
    /** So many times each value. */
    const repeated = (counts: readonly (readonly [value: number, count: number])[]) =>
      histogramOf(Float32Array.from(counts.flatMap(([value, count]) => Array<number>(count).fill(value))));

    it('are values of 5 % and more with the shares below and with them, zeros apart', () => {
      const smooth = Array.from({length: 10}, (_, i) => [10 + i, 1] as const);
      const histogram = repeated([[0, 20], [-0.7, 30], [0.9, 4], [2, 6], [3, 30], ...smooth]);
      expect(histogram.ties()).to.deep.equal([
        {magnitude: Math.fround(0.7), from: 0.2, to: 0.5},
        {magnitude: 2, from: 0.54, to: 0.6},
        {magnitude: 3, from: 0.6, to: 0.9},
      ]);
      expect(histogram.zeroShare).to.equal(0.2);
      expect(new AbsHistogram().ties()).to.deep.equal([]);
      expect(new AbsHistogram().zeroShare).to.equal(0);
    });

    it('are told from their neighbours, however near, and from smooth values', () => {
      const two = repeated([
        [1, 50],
        [1.004, 50],
      ]);
      expect(two.ties().map(({from, to}) => [from, to])).to.deep.equal([
        [0, 0.5],
        [0.5, 1],
      ]);
      expect(histogramOf(normals(20_000, 4)).ties()).to.deep.equal([]);
      // Spread within one bucket: many values, none of them tied.
      expect(histogramOf(normals(20_000, 4).map((x) => 5 + 0.001 * x)).ties()).to.deep.equal([]);
    });

    it('are found amid other values of their bucket, at most 0.4 % off', () => {
      const values = normals(10_000, 4).map((x, i) => (i % 2 === 0 ? 0.5 + 1e-7 : x));
      const [tie] = histogramOf(values).ties();
      expect(tie.magnitude).to.be.closeTo(0.5, 0.5 * BUCKET);
      expect(tie.to - tie.from).to.be.closeTo(0.5, 0.01);
      const histogram = histogramOf(values);
      // Below the bucket's end all of the tie may be masked: the worse is said.
      expect(histogram.shareAtOrBelow(0.5 * (1 + BUCKET / 2))).to.be.closeTo(tie.to, 1e-9);
    });

    it('are found beside neighbours of which there are less than a quarter, and amid the smallest numbers beside zeros', () => {
      const around = (count: number, from: number) =>
        Array.from({length: count}, (_, i) => from * (1 + (i + 1) * 1e-6));
      const beside = [...around(100, 0.4995), ...around(1000, 0.5), ...around(100, 0.503)];
      expect(histogramOf(Float32Array.from(beside)).ties()).to.have.length(1);
      expect(histogramOf(Float32Array.from([...around(300, 0.503), ...beside])).ties()).to.deep.equal([]);
      const smallest = Float32Array.from({length: 130}, (_, i) => (i < 30 ? 0 : 2 ** -149 * (1 + (i % 2))));
      expect(histogramOf(smallest).ties()).to.have.length(1);
    });

    it('are none where a value comes to others that were saved', () => {
      const several = histogramOf(Float32Array.of(2.501, 2.502, 2.503, 9, 10, 11));
      const back = AbsHistogram.fromJSON(JSON.parse(JSON.stringify(several)));
      back.merge(histogramOf(Float32Array.of(2.5015)));
      several.merge(histogramOf(Float32Array.of(2.5015)));
      expect(back.toJSON()).to.deep.equal(several.toJSON());
      expect(back.toJSON().singles).to.deep.equal([9, 10, 11]);
    });

    it('are masked all or none by the value itself', () => {
      const histogram = repeated([
        [0.7, 40],
        [2, 60],
      ]);
      const value = Math.fround(0.7);
      expect(histogram.shareAtOrBelow(value)).to.equal(0.4);
      expect(histogram.shareAtOrBelow(value * (1 - 1e-7))).to.equal(0);
      expect(histogram.shareAtOrBelow(1.9999)).to.equal(0.4);
      expect(histogram.quantile(0.38)).to.be.within(value, value * (1 + BUCKET));
    });

    it('of two values among few may be masked, of one value too many', () => {
      const few = repeated([
        [1, 1],
        [2, 2],
        [3, 1],
      ]);
      expect(few.shareAtOrBelow(few.quantile(0.5))).to.equal(0.75); // one value too many
      const more = repeated([
        [1, 3],
        [2, 6],
        [3, 3],
      ]);
      expect(more.shareAtOrBelow(more.quantile(0.5))).to.equal(0.25); // three would be
    });

    it('stay what they are when merged, saved and read', () => {
      const [a, b] = [
        repeated([
          [1, 30],
          [2.501, 10],
        ]),
        repeated([
          [1, 20],
          [2.502, 40],
        ]),
      ];
      a.merge(b);
      const back = AbsHistogram.fromJSON(JSON.parse(JSON.stringify(a)));
      for (const histogram of [a, back]) {
        expect(histogram.ties()[0]).to.deep.equal({magnitude: 1, from: 0, to: 0.5});
        expect(histogram.shareAtOrBelow(0.9999)).to.equal(0);
      }
      // 2.501 and 2.502 fall into one bucket: it holds no single value any more.
      expect(back.toJSON().singles).to.deep.equal([1]);
    });
  });

  describe('shareAtOrBelow', () => {
    const histogram = histogramOf(Float32Array.of(0, -0, 1, -2, 3, 4, 5, Infinity));
    for (const [threshold, expected] of [
      [-1, 0],
      [NaN, 0],
      [-Infinity, 0],
      [0, 0.25],
      [0.999, 0.25],
      [2, 0.5],
      [5, 0.875],
      [1e300, 0.875],
      [Infinity, 1],
    ]) {
      it(`is ${expected} at ${threshold}`, () => {
        expect(histogram.shareAtOrBelow(threshold)).to.equal(expected);
      });
    }
    it('does not count a value just above a float64 threshold', () => {
      const one = histogramOf(Float32Array.of(Math.fround(0.1)));
      expect(one.shareAtOrBelow(0.1)).to.equal(0); // float32(0.1) > 0.1
      expect(one.shareAtOrBelow(Math.fround(0.1))).to.equal(1);
    });
    it('is the inverse of quantile on smooth data', () => {
      const smooth = histogramOf(normals(100_000, 5));
      for (const q of [0.1, 0.5, 0.9]) {
        expect(smooth.shareAtOrBelow(smooth.quantile(q))).to.be.closeTo(q, 2e-5);
      }
    });
    it('is within a bucket of the exact share', () => {
      const values = normals(20_000, 11);
      for (const threshold of [0.01, 0.5, 1.3]) {
        const [low, high] = [threshold * (1 - BUCKET), threshold * (1 + BUCKET)];
        expect(histogramOf(values).shareAtOrBelow(threshold)).to.be.within(
          maskedShare(values, low),
          maskedShare(values, high),
        );
      }
    });
    it('rejects an empty histogram', () => {
      expect(() => new AbsHistogram().shareAtOrBelow(1)).to.throw('holds no values');
    });
  });

  describe('ties', () => {
    /** Smooth values that fill the rest, far from 1. */
    const rest = (count: number) => Float32Array.from({length: count}, (_, i) => 8 * 1.01 ** i);
    const times = (value: number, count: number) => new Float32Array(count).fill(value);
    /** The end of the bucket above 1, which holds 1.001 and 1.002. */
    const END = 1 + BUCKET;

    it('are the values that stand for 5 % of all or more, with what is masked below and with each', () => {
      const histogram = histogramOf(times(0, 100), times(-0.3, 50), times(0.7, 49), times(2, 200), rest(601));
      expect(histogram.ties()).to.deep.equal([
        {magnitude: Math.fround(0.3), from: 0.1, to: 0.15},
        {magnitude: 2, from: 0.199, to: 0.399},
      ]);
      expect(histogramOf(times(0, 5), rest(95)).ties()).to.deep.equal([]);
    });

    it('are a bucket of several values that towers over its neighbours, by its end or by the largest value', () => {
      const mixed = [times(1.001, 8), times(1.002, 8)];
      expect(histogramOf(...mixed, rest(84)).ties()).to.deep.equal([{magnitude: END, from: 0, to: 0.16}]);
      const [{magnitude}] = histogramOf(times(0.01, 1), ...mixed).ties();
      expect(magnitude).to.equal(Math.fround(1.002));
    });

    it('are not so few as 15 different values, and not a bucket of four times its neighbour or less', () => {
      const few = histogramOf(times(1.001, 8), times(1.002, 7), rest(85));
      expect(few.ties()).to.deep.equal([]);
      const beside = (neighbour: Float32Array) =>
        histogramOf(times(1.001, 20), times(1.002, 20), neighbour, rest(50)).ties();
      const [below, above] = [1 - BUCKET / 4, 1 + 1.5 * BUCKET];
      const spread = (center: number, count: number) =>
        Float32Array.from({length: count}, (_, i) => center + i * 1e-5);
      for (const center of [below, above]) {
        expect(beside(spread(center, 10)), String(center)).to.deep.equal([]);
        expect(beside(spread(center, 9)), String(center)).to.have.length(1);
      }
    });

    it('tell equal values from several in one bucket, also when one comes by merging', () => {
      const equal = histogramOf(times(1.001, 30), rest(70));
      expect(equal.ties()[0].magnitude).to.equal(Math.fround(1.001));
      equal.merge(histogramOf(times(1.002, 1)));
      expect(equal.ties()[0].magnitude).to.equal(END);
      const back = AbsHistogram.fromJSON(equal.toJSON());
      expect(back.ties()).to.deep.equal(equal.ties());
    });

    it('are masked by a threshold at their value, and not by one just below', () => {
      const one = histogramOf(times(1.001, 40), rest(60));
      expect(one.shareAtOrBelow(Math.fround(1.001))).to.equal(0.4);
      expect(one.shareAtOrBelow(1.0009)).to.equal(0);
      // Where they lie in the bucket is unknown: a threshold in it counts as masking all of them.
      const mixed = histogramOf(times(0.5, 1), times(1.001, 20), times(1.002, 20), rest(59));
      expect(mixed.shareAtOrBelow(1.0005)).to.equal(0.41);
    });

    it('at a power of two stand in the bucket that ends there', () => {
      const histogram = histogramOf(times(1, 50), rest(50));
      expect(histogram.ties()).to.deep.equal([{magnitude: 1, from: 0, to: 0.5}]);
      expect(histogram.quantile(0.49)).to.equal(1);
      expect(histogram.quantile(0.2)).to.be.below(1);
    });

    it('of 0.5 % are masked together or not at all', () => {
      const values = [...rest(50), ...times(1.001, 4), ...times(0.01, 746)];
      const histogram = histogramOf(Float32Array.from(values));
      // Of 800 values 4 are the least that is a tie; 0.01 is below them all.
      expect(histogram.quantile(748.5 / 800)).to.equal(1.00390625);
      expect(histogram.quantile(747 / 800)).to.be.at.most(1);
    });

    it('may mask one value too many where values are few', () => {
      const values = Float32Array.of(1, 1, 2, 3, 4, 5, 6, 7);
      expect(maskedShare(values, histogramOf(values).quantile(1 / 7))).to.equal(0.25);
      const three = Float32Array.of(1, 1, 1, 3, 4, 5, 6, 7);
      expect(maskedShare(three, histogramOf(three).quantile(1 / 7))).to.equal(0); // 3 where 1.1 are asked for
    });

    it('of the largest finite numbers are told from infinities', () => {
      const histogram = histogramOf(times(3.4e38, 30), times(Infinity, 5), rest(65));
      expect(histogram).to.include({infCount: 5, max: Math.fround(3.4e38)});
      expect(histogram.shareAtOrBelow(3.3e38)).to.be.within(0.65, 0.95);
      expect(histogram.shareAtOrBelow(3.4e38)).to.equal(0.95);
    });
  });

  it('gives the share of zeros, 0 of no values', () => {
    expect(new AbsHistogram().zeroShare).to.equal(0);
    expect(histogramOf(Float32Array.of(0, -0, 1, NaN)).zeroShare).to.equal(2 / 3);
  });

  describe('toJSON and fromJSON', () => {
    it('round trip', () => {
      fc.assert(
        fc.property(fc.array(anyFloat, {maxLength: 60}), share, (array, q) => {
          const histogram = histogramOf(Float32Array.from(array));
          const text = JSON.stringify(histogram);
          const back = AbsHistogram.fromJSON(JSON.parse(text));
          expect(JSON.stringify(back)).to.equal(text);
          for (const key of ['count', 'zeroCount', 'infCount', 'nanCount', 'min', 'max'] as const) {
            expect(back[key]).to.deep.equal(histogram[key]);
          }
          if (histogram.count > 0) {
            expect(back.quantile(q)).to.equal(histogram.quantile(q));
          }
        }),
      );
    });
    it('keep counts above 2^32', () => {
      const histogram = histogramOf(Float32Array.of(0.5, 0.5, 0));
      for (let i = 0; i < 40; i++) {
        histogram.merge(histogram);
      }
      const back = AbsHistogram.fromJSON(histogram.toJSON());
      expect(back.count).to.equal(3 * 2 ** 40);
      expect(back.zeroCount).to.equal(2 ** 40);
    });
    it('take about 10 KB for 200,000 normal values', () => {
      expect(JSON.stringify(histogramOf(normals(200_000, 2)))).to.have.length.below(10_000);
    });

    const good = histogramOf(Float32Array.of(0, 1, 1.5, 1e9)).toJSON();
    const bytes = (...codes: number[]) => btoa(String.fromCharCode(...codes));
    const two = {...good, min: 1, max: Math.fround(1.003)}; // two neighbouring buckets
    const apart = histogramOf(Float32Array.of(1, 4)).toJSON();
    for (const [what, json, reason] of [
      ['null', null, 'it is null'],
      ['an array', [], 'it is an array'],
      ['a string', 'histogram', 'it must be an object'],
      ['another version', {...good, version: 2}, 'this release reads version 1'],
      ['negative zeros', {...good, zeros: -1}, 'zeros is -1'],
      ['a fraction of a NaN', {...good, nan: 0.5}, 'nan is 0.5'],
      ['a count as text', {...good, infinite: '3'}, 'infinite is 3'],
      ['an unsafe count', {...good, zeros: 2 ** 53}, 'zeros is'],
      ['counts that are no text', {...good, counts: [1]}, 'counts must be a string'],
      ['counts without extremes', {...good, min: null, max: null}, 'no min and max'],
      ['one extreme', {...good, max: null}, 'max is null'],
      ['a zero minimum', {...good, min: 0}, 'min is 0'],
      ['an infinite maximum', {...good, max: Infinity}, 'max is Infinity'],
      ['a minimum that is no float32', {...good, min: 0.1}, 'must be a positive finite float32'],
      ['crossed extremes', {...good, min: 2, max: 1}, 'above max'],
      ['text that is not base64', {...two, counts: '!!!!'}, 'not base64'],
      ['too much text', {...two, counts: 'A'.repeat(1e6)}, 'too many for 2 buckets'],
      ['too few counts', {...two, counts: bytes(1)}, 'ends early'],
      ['an unfinished count', {...two, counts: bytes(1, 255)}, 'ends early'],
      ['too many counts', {...two, counts: bytes(1, 1, 1)}, '1 bytes too many'],
      [
        'a count above 2^53',
        {...two, counts: bytes(255, 255, 255, 255, 255, 255, 255, 255, 1)},
        'above 2^53',
      ],
      ['an empty first bucket', {...two, counts: bytes(0, 1, 1)}, 'is empty'],
      ['an empty last bucket', {...two, counts: bytes(1, 0, 1)}, 'is empty'],
      ['a run past the end', {...two, counts: bytes(1, 0, 5)}, 'does not fit'],
      ['a run of nothing', {...two, counts: bytes(1, 0, 0)}, 'does not fit'],
      ['singles that are no list', {...good, singles: {0: 1}}, 'singles must be a list'],
      ['a single value of 0', {...good, singles: [0]}, 'a single value is 0'],
      ['a single value that is no float32', {...good, singles: [0.1]}, 'positive finite float32'],
      ['a single value that was not counted', {...good, singles: [1.25]}, 'was not counted'],
      ['single values that fall', {...good, singles: [1.5, 1]}, 'not above the one before'],
      ['a single value twice', {...good, singles: [1, 1]}, 'not above the one before'],
      ['a single value that is none', {...good, singles: ['1']}, 'a single value is 1'],
      ['single values that do not rise', {...apart, singles: [4, 1]}, 'is not above the one before it'],
      [
        'a single value between two that were counted',
        {...apart, singles: [2]},
        'the single value 2 was not counted',
      ],
      ['more than 2^53 in all', {...two, zeros: 2 ** 53 - 1, counts: bytes(1, 1)}, 'more than 2^53 values'],
    ] as [string, unknown, string][]) {
      it(`reject ${what}`, () => {
        expect(() => AbsHistogram.fromJSON(json))
          .to.throw(SparsifyError, reason)
          .with.property('code', 'invalid-histogram');
      });
    }
    it('reject or read any counts', () => {
      fc.assert(
        fc.property(fc.uint8Array({maxLength: 16}), (codes) => {
          try {
            AbsHistogram.fromJSON({...good, counts: bytes(...codes)});
          } catch (error) {
            expect(error).to.be.instanceOf(SparsifyError);
          }
        }),
      );
    });
  });
});
