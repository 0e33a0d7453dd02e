import {expect} from 'chai';
import {
  choosePoint,
  estimatePoint,
  frontierOf,
  type FormatPoint,
  type ModelFormat,
} from '../../lib/allocation/format-points.js';

/** Milliseconds of the dense float32 model. */
const DENSE_MS = 10;

function point(
  format: ModelFormat,
  sparsity: number,
  loss: number,
  ms: number,
  lossError: number | null = null,
): FormatPoint {
  return {format, sparsity, loss, lossError, ms};
}

const DENSE = point('float32', 0, 0, DENSE_MS, 0);
const INT8 = point('int8', 0, 0.001, 4);
const INT8_HALF = point('int8', 0.5, 0.2, 2.5);
const INT4 = point('int4', 0, 0.3, 2);
const ALL = [DENSE, INT8, INT8_HALF, INT4];

describe('choosePoint', () => {
  for (const [maxLoss, expected] of [
    [0, DENSE],
    [0.0009, DENSE],
    [0.001, INT8],
    [0.199, INT8],
    [0.2, INT8_HALF],
    [0.3, INT4],
    [1, INT4],
  ] as const) {
    it(`takes the fastest within a loss of ${maxLoss}`, () => {
      expect(choosePoint(ALL, {maxLoss}, DENSE_MS)).to.deep.equal({point: expected, met: true});
    });
  }

  it('takes no point that loses more than asked, even where nothing else is there', () => {
    expect(choosePoint([INT8, INT4], {maxLoss: 0.0005}, DENSE_MS)).to.equal(null);
  });

  it('counts 1.3 standard errors to a loss', () => {
    const unsure = point('int4', 0, 0.01, 2, 0.01);
    expect(choosePoint([DENSE, unsure], {maxLoss: 0.0229}, DENSE_MS)!.point).to.equal(DENSE);
    expect(choosePoint([DENSE, unsure], {maxLoss: 0.0231}, DENSE_MS)!.point).to.equal(unsure);
  });

  it('takes no point that is slower than the dense float32 model', () => {
    const slow = point('int4', 0, 0, 10.1);
    expect(choosePoint([slow, DENSE], {maxLoss: 0.1}, DENSE_MS)!.point).to.equal(DENSE);
    expect(choosePoint([slow], {maxLoss: 0.1}, DENSE_MS)).to.equal(null);
    expect(choosePoint([slow], {speedup: 1}, DENSE_MS)).to.equal(null);
  });

  it('takes the one that loses less of two that are as fast, and the first of two that are equal', () => {
    const [a, b, c] = [point('int8', 0, 0.01, 4), point('kept', 0, 0.005, 4), point('int4', 0, 0.005, 4)];
    expect(choosePoint([a, b, c], {maxLoss: 0.1}, DENSE_MS)!.point).to.equal(b);
    expect(choosePoint([a, c, b], {maxLoss: 0.1}, DENSE_MS)!.point).to.equal(c);
  });

  it('takes the least loss at a speed', () => {
    expect(choosePoint(ALL, {speedup: 2.5}, DENSE_MS)).to.deep.equal({point: INT8, met: true});
    expect(choosePoint(ALL, {latencyMs: 3}, DENSE_MS)).to.deep.equal({point: INT8_HALF, met: true});
    expect(choosePoint(ALL, {speedup: 1}, DENSE_MS)).to.deep.equal({point: DENSE, met: true});
  });

  it('takes the fastest and says that the target is not met where no point is as fast', () => {
    expect(choosePoint(ALL, {speedup: 6}, DENSE_MS)).to.deep.equal({point: INT4, met: false});
    expect(choosePoint(ALL, {speedup: 4, maxLoss: 0.1}, DENSE_MS)).to.deep.equal({point: INT8, met: false});
    expect(choosePoint(ALL, {speedup: 4, maxLoss: 0.25}, DENSE_MS)).to.deep.equal({
      point: INT8_HALF,
      met: true,
    });
  });

  it('has one format to choose from, or none', () => {
    expect(choosePoint([INT8], {maxLoss: 0.01}, DENSE_MS)).to.deep.equal({point: INT8, met: true});
    expect(choosePoint([], {maxLoss: 0.01}, DENSE_MS)).to.equal(null);
  });
});

describe('estimatePoint', () => {
  it('lies where the loss is just what is allowed: latency linear in the sparsity, the root of the loss too', () => {
    const points = [point('int8', 0, 0, 4), point('int8', 0.4, 0.16, 2)];
    const {sparsity, loss, ms} = estimatePoint(points, {maxLoss: 0.04}, DENSE_MS)!;
    expect(sparsity).to.be.closeTo(0.2, 1e-12);
    expect(loss).to.be.closeTo(0.04, 1e-12).and.at.most(0.04);
    expect(ms).to.be.closeTo(3, 1e-12);
  });

  it('lies where the latency is just what is allowed', () => {
    const points = [point('int8', 0, 0, 4), point('int8', 0.4, 0.16, 2)];
    const {sparsity, loss, ms} = estimatePoint(points, {latencyMs: 3}, DENSE_MS)!;
    expect(sparsity).to.be.closeTo(0.2, 1e-12);
    expect(loss).to.be.closeTo(0.04, 1e-12);
    expect(ms).to.equal(3);
  });

  it('is the last point if that keeps the loss, and none if not even the first does', () => {
    expect(estimatePoint([INT8, INT8_HALF], {maxLoss: 0.5}, DENSE_MS)).to.equal(INT8_HALF);
    expect(estimatePoint([INT8, INT8_HALF], {maxLoss: 0.0001}, DENSE_MS)).to.equal(null);
  });

  it('is a sparser point only if that is faster', () => {
    const slower = point('int8', 0.5, 0.2, 5);
    expect(estimatePoint([INT8, slower], {maxLoss: 0.1}, DENSE_MS)).to.equal(INT8);
  });
});

describe('frontierOf', () => {
  it('leaves out what another beats, and one of two that are equal', () => {
    const beaten = point('bfloat16', 0, 0.002, 5);
    const equal = point('kept', 0, 0.001, 4);
    expect(frontierOf([INT4, beaten, ...ALL.slice(0, 3), equal])).to.deep.equal([
      DENSE,
      INT8,
      INT8_HALF,
      INT4,
    ]);
    expect(frontierOf([])).to.deep.equal([]);
  });
});
