import {expect} from 'chai';
import fc from 'fast-check';
import {PROBE_LEVELS, predictedError} from '../../lib/allocation/law.js';
import {spending, type Spender} from '../../lib/allocation/spend.js';

/** A layer that loses `scale` times the square of its odds. */
const convex = (scale: number, size = 1, minimum = 0, maximum = 0.95): Spender => ({
  ...{size, minimum, maximum},
  loss: (s) => scale * (s / (1 - s)) ** 2,
});

const mean = (layers: readonly Spender[], shares: readonly number[]) =>
  layers.reduce((sum, {size}, i) => sum + size * shares[i], 0) /
  layers.reduce((sum, {size}) => sum + size, 0);

describe('spending', () => {
  it('gives equal layers equal shares, to within a piece', () => {
    const shares = spending([convex(1), convex(1), convex(1)])(0.5);
    for (const share of shares) expect(share).to.be.closeTo(0.5, 0.0101);
  });

  it('gives less to the layer that loses more, and to the larger of two the same loss at a lower price', () => {
    const [sensitive, robust] = spending([convex(100), convex(1)])(0.5);
    expect(sensitive).to.be.below(0.25);
    expect(robust).to.be.above(0.75);
    const [small, large] = spending([convex(1, 1), convex(1, 10)])(0.5);
    expect(large).to.be.above(small);
  });

  it('spends on the hull of a curve that is not convex: its cheap end, not its dear middle', () => {
    const step: Spender = {size: 1, minimum: 0, maximum: 1, loss: (s) => (s < 0.1 ? 10 * s : 1)};
    const [stepped, other] = spending([step, {...convex(1), loss: (s) => 3 * s}])(0.5);
    expect(stepped).to.be.closeTo(1, 1e-9);
    expect(other).to.be.closeTo(0, 1e-9);
  });

  it('reaches the mean within the bounds, for all layers', () => {
    const layer = fc
      .record({
        scale: fc.double({min: 0, max: 100, noNaN: true}),
        size: fc.integer({min: 1, max: 1000}),
        bounds: fc.tuple(
          fc.double({min: 0, max: 0.95, noNaN: true}),
          fc.double({min: 0, max: 0.95, noNaN: true}),
        ),
      })
      .map(({scale, size, bounds}) => convex(scale, size, Math.min(...bounds), Math.max(...bounds)));
    fc.assert(
      fc.property(
        fc.array(layer, {minLength: 1, maxLength: 8}),
        fc.double({min: 0, max: 1, noNaN: true}),
        (layers, at) => {
          const [least, most] = (['minimum', 'maximum'] as const).map((b) =>
            mean(
              layers,
              layers.map((l) => l[b]),
            ),
          );
          const wanted = least + at * (most - least);
          const shares = spending(layers)(wanted);
          expect(mean(layers, shares)).to.be.closeTo(wanted, 1e-9);
          shares.forEach((share, i) =>
            expect(share).to.be.within(layers[i].minimum, layers[i].maximum + 1e-12),
          );
        },
      ),
      {numRuns: 50},
    );
  });
});

describe('predictedError', () => {
  const {level, upperLevel} = PROBE_LEVELS;

  it('is what was probed at both levels, 0 at 0, and never falls', () => {
    const probe = {error: 0.01, upperError: 0.08};
    expect(predictedError(probe, PROBE_LEVELS, level)).to.be.closeTo(0.01, 1e-12);
    expect(predictedError(probe, PROBE_LEVELS, upperLevel)).to.be.closeTo(0.08, 1e-12);
    expect(predictedError(probe, PROBE_LEVELS, 0)).to.equal(0);
    const errors = Array.from({length: 101}, (_, i) => predictedError(probe, PROBE_LEVELS, i / 100));
    errors.slice(1).forEach((error, i) => expect(error).to.be.at.least(errors[i]));
  });

  it('falls with the cube of the share towards 0, where values lie evenly about it', () => {
    const probe = {error: 0.01, upperError: 0.08};
    const [small, half] = [0.02, 0.01].map((share) => predictedError(probe, PROBE_LEVELS, share));
    expect(small / half).to.be.within(8, 8.3);
  });

  it('takes a fall between the levels for noise, and still has a wall beyond', () => {
    const flat = {error: 0.01, upperError: 0.009};
    expect(predictedError(flat, PROBE_LEVELS, 0.75)).to.be.closeTo(0.01, 1e-12);
    expect(predictedError(flat, PROBE_LEVELS, upperLevel)).to.be.closeTo(0.01, 1e-12);
    expect(predictedError(flat, PROBE_LEVELS, 0.99)).to.be.above(0.02);
  });
});
