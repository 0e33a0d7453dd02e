import {expect} from 'chai';
import fc from 'fast-check';
import {breakEven, fallingCurve, predictLatency, timeAt} from '../../lib/eval/break-even.js';

/** Points at 0, 50 and 100 % of these times. */
function points(...times: readonly number[]) {
  return times.map((ms, i) => ({sparsity: i / (times.length - 1), ms}));
}

describe('breakEven', () => {
  const cases = [
    {name: 'half way between two points', times: [12, 8, 4], dense: 10, expected: 0.25},
    {name: 'at a point', times: [12, 8, 4], dense: 8, expected: 0.5},
    {name: 'near the end', times: [12, 11, 7], dense: 8, expected: 0.875},
    {name: '0 where the first point is as fast', times: [10, 8, 4], dense: 10, expected: 0},
    {name: 'null where no point is as fast', times: [30, 20, 11], dense: 10, expected: null},
    {name: 'behind a plateau', times: [12, 12, 8], dense: 10, expected: 0.75},
  ];
  for (const {name, times, dense, expected} of cases) {
    it(`lies ${name}`, () => expect(breakEven(points(...times), dense)).to.equal(expected));
  }

  it('takes the first sparsity where that is not 0', () => {
    expect(breakEven([{sparsity: 0.3, ms: 1}], 2)).to.equal(0.3);
  });
});

describe('fallingCurve', () => {
  it('keeps times that fall', () => {
    expect(fallingCurve(points(9, 5, 5, 1))).to.deep.equal(points(9, 5, 5, 1));
  });

  it('replaces times that rise by their mean', () => {
    expect(fallingCurve(points(9, 4, 6, 1))).to.deep.equal(points(9, 5, 5, 1));
  });

  it('goes back as far as the mean rises', () => {
    expect(fallingCurve(points(4, 3, 8))).to.deep.equal(points(5, 5, 5));
  });

  it('never rises and keeps the sum of the times', () => {
    fc.assert(
      fc.property(fc.array(fc.double({min: 0.001, max: 1000, noNaN: true}), {minLength: 2}), (times) => {
        const curve = fallingCurve(points(...times)).map(({ms}) => ms);
        const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
        for (let i = 1; i < curve.length; i++) expect(curve[i]).to.be.at.most(curve[i - 1]);
        // Each of at most 2 * length additions of values below 1000 * length rounds by half an ulp.
        expect(sum(curve)).to.be.closeTo(sum(times), times.length ** 2 * 1000 * 2 ** -51);
      }),
    );
  });
});

describe('timeAt', () => {
  const curve = [
    {sparsity: 0.2, ms: 10},
    {sparsity: 0.6, ms: 2},
  ];
  const cases = [
    {sparsity: 0.2, expected: 10},
    {sparsity: 0.4, expected: 6},
    {sparsity: 0.6, expected: 2},
    {sparsity: 0, expected: 10},
    {sparsity: 1, expected: 2},
  ];
  for (const {sparsity, expected} of cases) {
    it(`is ${expected} at ${sparsity}`, () => expect(timeAt(curve, sparsity)).to.be.closeTo(expected, 1e-12));
  }
});

describe('predictLatency', () => {
  const layer = {calls: 2, denseMs: 10, curve: points(8, 4)};

  it('takes what every call of every layer gains off the dense time', () => {
    // 2 calls gain 10 - 6 each, and a layer of its own 3 - 1.5.
    const other = {calls: 1, denseMs: 3, curve: points(2, 1)};
    expect(predictLatency(100, [layer, other], 0.5)).to.equal(100 - 8 - 1.5);
  });

  it('adds what a layer loses', () => {
    expect(predictLatency(100, [{...layer, denseMs: 5}], 0)).to.equal(106);
  });

  it('is not below what the layers take', () => {
    expect(predictLatency(1, [layer], 1)).to.equal(8);
  });
});
