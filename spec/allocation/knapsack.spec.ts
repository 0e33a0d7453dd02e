import {expect} from 'chai';
import fc from 'fast-check';
import {PROBE_LEVELS, predictedError} from '../../lib/allocation/error-law.js';
import {knapsack, type KnapsackItem} from '../../lib/allocation/knapsack.js';
import type {AttainableShares, LayerProbe} from '../../lib/metadata/allocation.js';
import {lawShares, meanOf} from '../../lib/allocation/share-functions.js';

/** A layer that loses `scale` times the square of its odds. */
const convex = (scale: number, size = 1, minimum = 0, maximum = 0.95): KnapsackItem => ({
  ...{size, minimum, maximum},
  loss: (s) => scale * (s / (1 - s)) ** 2,
});

const mean = (layers: readonly KnapsackItem[], shares: readonly number[]) =>
  layers.reduce((sum, {size}, i) => sum + size * shares[i], 0) /
  layers.reduce((sum, {size}) => sum + size, 0);

describe('knapsack', () => {
  it('gives equal layers equal shares, to within a piece', () => {
    const shares = knapsack([convex(1), convex(1), convex(1)])(0.5);
    for (const share of shares) expect(share).to.be.closeTo(0.5, 0.0101);
  });

  it('gives less to the layer that loses more, and to the larger of two the same loss at a lower price', () => {
    const [sensitive, robust] = knapsack([convex(100), convex(1)])(0.5);
    expect(sensitive).to.be.below(0.25);
    expect(robust).to.be.above(0.75);
    const [small, large] = knapsack([convex(1, 1), convex(1, 10)])(0.5);
    expect(large).to.be.above(small);
  });

  it('spends on the hull of a curve that is not convex: its cheap end, not its dear middle', () => {
    const step: KnapsackItem = {size: 1, minimum: 0, maximum: 1, loss: (s) => (s < 0.1 ? 10 * s : 1)};
    const [stepped, other] = knapsack([step, {...convex(1), loss: (s) => 3 * s}])(0.5);
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
          const shares = knapsack(layers)(wanted);
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

describe('knapsack, by loss per weight', () => {
  const linear = (slope: number, more: Partial<KnapsackItem> = {}): KnapsackItem => ({
    ...{size: 1, minimum: 0, maximum: 1, loss: (s) => slope * s},
    ...more,
  });

  it('takes what a layer loses over and above, not what it loses at all', () => {
    expect(knapsack([linear(2), linear(1, {loss: (s) => 10 + s})])(0.5)).to.deep.equal([0, 1]);
  });

  it('fills the first of equal layers first', () => {
    const shares = knapsack([linear(1), linear(1), linear(1)])(0.5);
    [1, 0.5, 0].forEach((share, i) => expect(shares[i]).to.be.closeTo(share, 1e-12));
  });

  it('gives the least that the bounds allow where less is asked for, and the most where more is', () => {
    const layers = [linear(1, {minimum: 0.2, maximum: 0.6}), linear(2, {minimum: 0.4, maximum: 0.5})];
    expect(knapsack(layers)(0.1)).to.deep.equal([0.2, 0.4]);
    for (const [i, share] of knapsack(layers)(0.9).entries())
      expect(share).to.be.closeTo([0.6, 0.5][i], 1e-12);
  });

  it('takes no notice of a layer whose bounds are one', () => {
    const fixed = linear(5, {minimum: 0.5, maximum: 0.5});
    const [a, b, c] = knapsack([convex(100), fixed, convex(1)])(0.5);
    const [alone, other] = knapsack([convex(100), convex(1)])(0.5);
    expect(b).to.equal(0.5);
    expect(a).to.be.closeTo(alone, 1e-12);
    expect(c).to.be.closeTo(other, 1e-12);
  });

  it('gives convex layers equal shares, whatever they lose at 0', () => {
    const layer = linear(1, {loss: (s) => 5 + s ** 2, minimum: 0.3});
    for (const share of knapsack([layer, layer])(0.6)) expect(share).to.be.closeTo(0.6, 0.0051);
  });

  it('goes over the dear start of a layer to its cheap end, wherever it starts', () => {
    for (const minimum of [0, 0.2]) {
      const stepped = linear(1, {minimum, loss: (s) => 5 + (s < minimum + 0.1 ? 10 * (s - minimum) : 1)});
      const [share, other] = knapsack([stepped, linear(3, {minimum})])((1 + minimum) / 2);
      expect(share).to.be.closeTo(1, 1e-9);
      expect(other).to.be.closeTo(minimum, 1e-9);
    }
  });

  it('looks at curves up to 99 %', () => {
    const cliff = linear(1, {loss: (s) => (s <= 0.99 ? 0 : 1)});
    const [share, other] = knapsack([cliff, linear(0.5)])(0.745);
    expect(share).to.be.closeTo(0.99, 1e-12);
    expect(other).to.be.closeTo(0.5, 1e-12);
  });

  it('buys a layer by its size: the larger first at one loss, and less of it for the same mean', () => {
    const [small, large] = knapsack([linear(1), linear(1, {size: 4})])(0.4);
    expect(small).to.equal(0);
    expect(large).to.be.closeTo(0.5, 1e-12);
  });
});

describe('knapsack where a layer cannot have every sparsity', () => {
  it('knows ends of gaps that lie between its cuts', () => {
    const gapped: KnapsackItem = {...convex(1), gaps: [[0.2003, 0.5997]]};
    for (const wanted of [0.1, 0.25, 0.35, 0.5, 0.7, 0.85]) {
      const layers = [gapped, convex(1)];
      const shares = knapsack(layers)(wanted);
      expect(mean(layers, shares), `at ${wanted}`).to.be.closeTo(wanted, 1e-9);
      expect(shares[0] <= 0.2003 + 1e-12 || shares[0] >= 0.5997 - 1e-12, `at ${wanted}`).to.equal(true);
    }
    const shares = knapsack([gapped, convex(1)])(0.3);
    expect(shares[0]).to.be.closeTo(0.2003, 1e-12);
    expect(shares[1]).to.be.closeTo(0.3997, 1e-12);
  });

  it('ends in no gap: what is left goes to the others', () => {
    const gapped: KnapsackItem = {...convex(1), gaps: [[0.2, 0.6]]};
    for (const wanted of [0.1, 0.25, 0.35, 0.5, 0.7, 0.85]) {
      const layers = [gapped, convex(1)];
      const shares = knapsack(layers)(wanted);
      expect(mean(layers, shares), `at ${wanted}`).to.be.closeTo(wanted, 1e-9);
      const [share] = shares;
      expect(share <= 0.2 + 1e-12 || share >= 0.6 - 1e-12, `${share} at ${wanted}`).to.equal(true);
    }
    expect(knapsack([gapped, convex(1)])(0.3)[0]).to.be.closeTo(0.2, 1e-12);
  });

  it('jumps a gap where that is the cheapest', () => {
    const cheap: KnapsackItem = {...convex(0.001), gaps: [[0.2, 0.6]]};
    const [share, other] = knapsack([cheap, convex(1000)])(0.4);
    expect(share).to.be.above(0.6);
    expect(other).to.be.below(0.2);
  });

  it('gives no more than lies below a gap that ends beyond the maximum', () => {
    const capped: KnapsackItem = {...convex(1), gaps: [[0.19, 1]]};
    expect(knapsack([capped, convex(1)])(0.9)).to.deep.equal([0.19, 0.95]);
    const both = [
      {...capped, maximum: 1},
      {...convex(1), maximum: 1},
    ];
    for (const share of knapsack(both)(1)) expect(share).to.be.closeTo(1, 1e-9);
  });

  it('keeps a minimum that lies in a gap', () => {
    const [share] = knapsack([{...convex(1), minimum: 0.3, gaps: [[0.2, 0.6]]}, convex(1)])(0.3);
    expect(share).to.equal(0.3);
  });
});

describe('lawShares', () => {
  const layer = (path: string, size = 1) => ({path, weights: size, size, minimum: 0, maximum: 0.95});
  const probe = (path: string, error: number, inputs?: AttainableShares): LayerProbe => ({
    ...{path, weights: 1, join: 'j', error, upperError: 10 * error},
    ...(inputs === undefined ? {} : {inputs}),
  });
  const tied: AttainableShares = {zeros: 0, level: 0.2, upperLevel: 0.2, gaps: [[0.2, 1]]};
  const probesOf = (...layers: LayerProbe[]) => ({...PROBE_LEVELS, rows: 1, layers});

  it('reaches a mean that is to be had, though a small layer cannot have its share', () => {
    const layers = [layer('tied', 1), layer('free', 20)];
    const spread = lawShares(layers, probesOf(probe('tied', 0.01, tied), probe('free', 0.01)));
    const shares = spread(0.5);
    expect(meanOf(layers, shares)).to.be.closeTo(0.5, 1e-9);
    expect(shares[0]).to.be.at.most(0.2);
  });

  it('lets the others lose a little more than all layers alike', () => {
    const layers = [layer('tied', 1), layer('free', 20)];
    const spread = lawShares(layers, probesOf(probe('tied', 1e-9, tied), probe('free', 0.01)));
    const shares = spread(0.5);
    expect(shares[0]).to.be.closeTo(0.2, 1e-9);
    expect(shares[1]).to.be.closeTo(0.5 + 0.3 / 20, 1e-9);
  });

  it('is content with what all layers alike would have, where more would lose much more', () => {
    const layers = [layer('tied', 4), layer('free', 1)];
    const spread = lawShares(layers, probesOf(probe('tied', 0.01, tied), probe('free', 0.01)));
    const shares = spread(0.5);
    expect(meanOf(layers, shares)).to.be.closeTo((4 * 0.2 + 0.5) / 5, 1e-9);
    expect(shares[1]).to.be.at.most(0.6);
    expect(shares[0]).to.be.at.most(0.2);
  });
});

describe('predictedError over zeros and ties', () => {
  const error = {error: 0.01, upperError: 0.08};

  it('is the law of the other values: zeros are free', () => {
    const inputs = {zeros: 0.5, level: 0.65, upperLevel: 0.85, gaps: []};
    const law = (share: number) => predictedError({...error, inputs}, PROBE_LEVELS, share);
    expect(law(0.5)).to.equal(0);
    expect(law(0.4)).to.equal(0);
    expect(law(0.65)).to.be.closeTo(0.01, 1e-12);
    expect(law(0.85)).to.be.closeTo(0.08, 1e-12);
    expect(law(0.502) / law(0.501)).to.be.closeTo(8, 0.1);
  });

  it('stands at the upper probe where the lower one masked zeros alone', () => {
    const inputs = {zeros: 0.7, level: 0.7, upperLevel: 0.85, gaps: []};
    const law = (share: number) => predictedError({error: 0, upperError: 0.08, inputs}, PROBE_LEVELS, share);
    expect(law(0.7)).to.equal(0);
    expect(law(0.85)).to.be.closeTo(0.08, 1e-12);
    expect(law(0.95)).to.be.above(0.3);
    expect(law(0.775)).to.be.closeTo(0.08 / 8 / 1.5 ** 0.25, 1e-3);
  });

  it('stands at the upper probe where the lower one made no difference', () => {
    const inputs = {zeros: 0.1, level: 0.65, upperLevel: 0.85, gaps: []};
    const law = (share: number) => predictedError({error: 0, upperError: 0.08, inputs}, PROBE_LEVELS, share);
    expect(law(0.85)).to.be.closeTo(0.08, 1e-12);
    expect(law(0.475)).to.be.closeTo(0.08 / 8 / (0.525 / 0.15) ** 0.25, 1e-6);
  });

  it('stands at the shares that the probes had', () => {
    const inputs = {zeros: 0, level: 0.2, upperLevel: 0.2, gaps: [[0.2, 1]] as const};
    const law = (share: number) =>
      predictedError({error: 0.01, upperError: 0.01, inputs}, PROBE_LEVELS, share);
    expect(law(0.2)).to.be.closeTo(0.01, 1e-12);
    expect(law(0.1)).to.be.closeTo(0.01 / 8 / (0.9 / 0.8) ** 0.25, 1e-6);
    expect(law(0.6)).to.be.closeTo(0.27 * 2 ** 0.25, 1e-6);
  });

  it('is that of a layer whose whole output is at stake, where no probe masked anything', () => {
    const inputs = {zeros: 0.1, level: 0.1, upperLevel: 0.1, gaps: [[0.1, 1]] as const};
    const law = (share: number) => predictedError({error: 0, upperError: 0, inputs}, PROBE_LEVELS, share);
    expect(law(0.1)).to.equal(0);
    expect(law(1)).to.be.above(1);
  });

  it('is 0 where probes masked values that make no difference, and where all are zeros', () => {
    const none = {zeros: 0, level: 0.65, upperLevel: 0.85, gaps: []};
    expect(predictedError({error: 0, upperError: 0, inputs: none}, PROBE_LEVELS, 0.9)).to.equal(0);
    const zeros = {zeros: 1, level: 1, upperLevel: 1, gaps: []};
    expect(predictedError({error: 0, upperError: 0, inputs: zeros}, PROBE_LEVELS, 1)).to.equal(0);
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
