import {expect} from 'chai';
import {attainable, beyondGap, gapsOf, thresholdFor} from '../../lib/allocation/attainable.js';
import {AbsHistogram} from '../../lib/stats/histogram.js';
import {quantileAbs} from '../../lib/stats/quantile.js';

/** 30 % below 1, 40 % at 1, 30 % above. */
const VALUES = Float32Array.from({length: 200}, (_, i) => (i < 60 ? i / 100 : i < 140 ? -1 : i / 50));

function histogramOf(values: Float32Array): AbsHistogram {
  const histogram = new AbsHistogram();
  histogram.add(values);
  return histogram;
}

describe('shares that a layer can have', () => {
  const gaps = [[0.3, 0.7]] as const;

  it('have gaps where values are tied', () => {
    expect(gapsOf(histogramOf(VALUES))).to.deep.equal(gaps);
  });

  for (const [share, had, beyond, bounded] of [
    [0, 0, 0, 0],
    [0.3, 0.3, 0.3, 0.3],
    [0.31, 0.3, 0.7, 0.3],
    [0.69, 0.3, 0.7, 0.3],
    [0.7, 0.7, 0.7, 0.7],
    [0.8, 0.8, 0.8, 0.8],
  ]) {
    it(`are ${had} where ${share} is asked for, and ${beyond} where a step goes over a gap if it may`, () => {
      expect(attainable(gaps, share)).to.equal(had);
      expect(attainable(undefined, share)).to.equal(share);
      expect(beyondGap(gaps, share, 0.95)).to.equal(beyond);
      expect(beyondGap(gaps, share, 0.7)).to.equal(beyond);
      expect(beyondGap(gaps, share, 0.69)).to.equal(bounded);
    });
  }

  it('are masked by the threshold that calibration would set: exact where values are smooth', () => {
    const histogram = histogramOf(VALUES);
    for (const share of [0.2, 0.8]) {
      expect(thresholdFor(VALUES, share, histogram)).to.deep.equal({
        threshold: quantileAbs(VALUES, share),
        reached: share,
      });
    }
    for (const [share, reached] of [
      [0.3, 0.3],
      [0.7, 0.7],
      [0.5, 0.3],
      [0.6, 0.3],
      [0.68, 0.7],
    ]) {
      const found = thresholdFor(VALUES, share, histogram);
      expect(found.threshold).to.equal(histogram.quantile(share));
      expect(found.reached).to.be.closeTo(reached, 1e-9);
      expect(VALUES.filter((x) => Math.abs(x) <= found.threshold).length / 200).to.equal(reached);
    }
  });
});
