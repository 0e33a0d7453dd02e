import {expect} from 'chai';
import {histogramBins} from '../../lib/report/histogram-bins.js';
import {AbsHistogram} from '../../lib/stats/histogram.js';

/** |x| spread evenly over (0, 1], a tenth of them zeros, and an outlier. */
function evenly(): AbsHistogram {
  const histogram = new AbsHistogram();
  histogram.add(Float32Array.from({length: 9000}, (_, i) => (i + 1) / 9000));
  histogram.add(new Float32Array(1000));
  histogram.add(Float32Array.of(50));
  return histogram;
}
/** A bucket of the histogram is 0.4 % wide, and a bin 1/36: its share of 0.9 is 0.025. */
const CLOSE = 0.004;

describe('the bins of a histogram', () => {
  it('are 36 up to the .99-quantile, of equal width and without gaps, zeros and the tail aside', () => {
    const {bins, zeros, beyond} = histogramBins(evenly(), null)!;
    expect(bins).to.have.length(36);
    const [end] = bins.slice(-1);
    // Of 10,001 values the .99-quantile has rank 9,900: the 8,901st of those above zero.
    expect(end.to).to.be.closeTo(0.989, CLOSE);
    bins.forEach(({from, to, share, isMasked}, i) => {
      expect(from).to.equal(i === 0 ? 0 : bins[i - 1].to);
      expect(to - from).to.be.closeTo(end.to / 36, 1e-12);
      expect(share).to.be.closeTo((0.9 * end.to) / 36, CLOSE / 4);
      expect(isMasked).to.equal(false);
    });
    expect(zeros).to.equal(1000 / 10_001);
    expect(beyond).to.be.closeTo(0.01, 1e-3);
  });

  it('are cut at the threshold, which itself is masked', () => {
    const {bins} = histogramBins(evenly(), 0.5)!;
    expect(bins).to.have.length(37);
    const masked = bins.filter(({isMasked}) => isMasked);
    expect(masked[masked.length - 1].to).to.equal(0.5);
    expect(bins[masked.length].from).to.equal(0.5);
    expect(masked.reduce((sum, {share}) => sum + share, 0)).to.be.closeTo(0.45, CLOSE);
  });

  it('reach a tenth beyond a threshold in the tail, and not beyond the largest value', () => {
    const end = (threshold: number) => histogramBins(evenly(), threshold)!.bins.slice(-1)[0].to;
    expect(end(10)).to.be.closeTo(11, 1e-12);
    expect(end(49)).to.equal(50);
    expect(histogramBins(evenly(), 60)!.beyond).to.be.closeTo(0, 1e-12);
  });

  it('are none where all values are zero or the tail is infinite, and nothing where there are no values', () => {
    const zeros = new AbsHistogram();
    zeros.add(new Float32Array(4));
    expect(histogramBins(zeros, 0)).to.deep.equal({bins: [], zeros: 1, beyond: 0});
    const infinite = new AbsHistogram();
    infinite.add(Float32Array.of(0, Infinity, Infinity, Infinity));
    expect(histogramBins(infinite, null)).to.deep.equal({bins: [], zeros: 0.25, beyond: 0.75});
    expect(histogramBins(new AbsHistogram(), 1)).to.equal(null);
  });
});
