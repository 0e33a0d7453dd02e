import {expect} from 'chai';
import fc from 'fast-check';

import {interpolate, quantileAbs} from '../../lib/stats/quantile.js';

/** The definition, by sorting. */
function sortedQuantile(values: Float32Array, q: number): number {
  const sorted = Float64Array.from(values, Math.abs).sort();
  const rank = q * (sorted.length - 1);
  const low = sorted[Math.floor(rank)];
  const high = sorted[Math.ceil(rank)];
  return low + (rank - Math.floor(rank)) * (high - low);
}

/** Longer than what is sorted, so that selection by counting is what is tested. */
const LONG = 5000;

const finite = fc.float({noNaN: true, noDefaultInfinity: true});

describe('quantileAbs', () => {
  it('is the median of an odd number of values', () => {
    expect(quantileAbs(Float32Array.of(-3, 1, 2), 0.5)).to.equal(2);
  });
  it('interpolates between ranks', () => {
    expect(quantileAbs(Float32Array.of(1, -2, 3, 4), 0.5)).to.equal(2.5);
  });
  it('gives the extremes at 0 and 1', () => {
    expect(quantileAbs(Float32Array.of(-5, 1, 2), 0)).to.equal(1);
    expect(quantileAbs(Float32Array.of(-5, 1, 2), 1)).to.equal(5);
  });
  it('takes a view into a larger buffer', () => {
    expect(quantileAbs(Float32Array.of(9, 1, 2, 3, 9).subarray(1, 4), 0.5)).to.equal(2);
  });
  it('takes numbers of other arrays as numbers', () => {
    for (const values of [Float64Array.of(1, -2, 7), Int32Array.of(1, -2, 7), [1, -2, 7]]) {
      expect(quantileAbs(values as unknown as Float32Array, 0.5)).to.equal(2);
    }
  });
  it('does not change its input', () => {
    const values = Float32Array.of(3, -1, 2);
    quantileAbs(values, 0.5);
    expect([...values]).to.deep.equal([3, -1, 2]);
  });

  for (const length of [3, LONG]) {
    it(`is NaN if any of ${length} values is NaN`, () => {
      const values = new Float32Array(length).fill(1);
      values[1] = NaN;
      expect(quantileAbs(values, 0.5)).to.be.NaN;
    });
    it(`ranks Infinity above all of ${length} values`, () => {
      const values = new Float32Array(length).fill(2);
      values[0] = -Infinity;
      expect(quantileAbs(values, 0.5)).to.equal(2);
      expect(quantileAbs(values, 1)).to.equal(Infinity);
      expect(quantileAbs(values, (length - 1.2) / (length - 1))).to.equal(Infinity);
    });
    it(`is the value when all ${length} are equal`, () => {
      expect(quantileAbs(new Float32Array(length).fill(Infinity), 0.4)).to.equal(Infinity);
      expect(quantileAbs(new Float32Array(length).fill(-0), 0.4)).to.equal(0);
    });
  }

  it('equals the definition by sorting', () => {
    fc.assert(
      fc.property(
        fc.array(finite, {minLength: 1, maxLength: 40}),
        fc.double({min: 0, max: 1, noNaN: true}),
        fc.boolean(),
        (array, q, long) => {
          const repeat = long ? Math.ceil(LONG / array.length) : 1;
          const values = Float32Array.from(
            {length: array.length * repeat},
            (_, i) => array[i % array.length],
          );
          const expected = sortedQuantile(values, q);
          // Two roundings of the interpolation, in float64.
          expect(quantileAbs(values, q)).to.be.closeTo(expected, expected * 1e-15);
        },
      ),
    );
  });

  it('selects across buckets when ranks fall into two', () => {
    const values = Float32Array.from({length: LONG}, (_, i) => (i % 2 === 0 ? 1 : -1000));
    expect(quantileAbs(values, 0.5)).to.equal(500.5);
  });

  for (const q of [-0.1, 1.1, NaN]) {
    it(`rejects the quantile ${q}`, () => {
      expect(() => quantileAbs(Float32Array.of(1), q)).to.throw('it must lie in [0, 1]');
    });
  }
  it('rejects no values', () => {
    expect(() => quantileAbs(new Float32Array(0), 0.5)).to.throw('give at least one value');
  });
});

describe('interpolate', () => {
  it('goes from the nearer end, as torch.lerp does, so that both ends are exact', () => {
    const [low, high] = [0.1, 0.7];
    expect(interpolate(low, high, 0.49)).to.equal(low + 0.49 * (high - low));
    expect(interpolate(low, high, 0.51)).to.equal(high - (high - low) * (1 - 0.51));
    expect(interpolate(low, high, 1)).to.equal(high);
    expect(interpolate(low, high, 0)).to.equal(low);
    expect(interpolate(2, Infinity, 0)).to.equal(2);
    expect(interpolate(2, Infinity, 0.1)).to.equal(Infinity);
  });
});
