import {expect} from 'chai';
import type {AllocationTarget} from '../../lib/metadata/allocation.js';
import {rejection} from '../support/rejection.js';
import {searchSparsity, type SearchRange} from '../../lib/allocation/search-mean-sparsity.js';

const RANGE: SearchRange = {least: 0, most: 0.95};

/** A model whose loss is a power of the odds and whose time falls in a line. */
function machine(
  target: AllocationTarget,
  {scale = 0.05, power = 2, error = 0, gain = 0.6} = {},
  range = RANGE,
) {
  let measured = 0;
  const loss = (s: number) => scale * (s / (1 - s)) ** power;
  const ms = (s: number) => 10 * (1 - gain * s);
  return {
    loss,
    ms,
    count: () => measured,
    found: searchSparsity(target, range, {
      loss: (s) => Promise.resolve({loss: (measured++, loss(s)), error}),
      speed: (s) => Promise.resolve({denseMs: (measured++, 10), ms: ms(s)}),
    }),
  };
}

describe('searchSparsity', () => {
  for (const maxLoss of [0.005, 0.02, 0.1, 1]) {
    for (const power of [1.2, 2, 3]) {
      it(`comes within a tenth below a loss of ${maxLoss}, which grows with the power ${power}, in 7 measurements`, async () => {
        const {found, loss, count} = machine({maxLoss}, {power});
        const {sparsity, met, candidates} = await found;
        expect(met).to.equal(true);
        expect(loss(sparsity)).to.be.within(0.88 * maxLoss, maxLoss);
        expect(count()).to.be.at.most(7);
        expect(candidates.map((candidate) => candidate.sparsity)).to.include(sparsity);
      });
    }
  }

  it('says when a part of the data will do: far beyond or below what is allowed, not near it', async () => {
    const asked = new Map<number, boolean[]>();
    const loss = (s: number) => 0.05 * (s / (1 - s)) ** 2;
    await searchSparsity({maxLoss: 0.02}, RANGE, {
      loss: (s, isClear) => {
        const at = (loss: number) => isClear({loss, error: 0.002});
        asked.set(s, [0.005, 0.001, 0.015, 0.02, 0.025, 0.04].map(at));
        return Promise.resolve({loss: loss(s), error: 0});
      },
      speed: () => Promise.reject(new Error('not asked for')),
    });
    expect(asked.size).to.be.at.least(1);
    for (const answers of asked.values()) {
      expect(answers).to.deep.equal([false, true, false, false, false, true]);
    }
  });

  it('stays below by 1.3 standard errors', async () => {
    const {found, loss} = machine({maxLoss: 0.02}, {error: 0.004});
    expect(loss((await found).sparsity) + 1.3 * 0.004).to.be.at.most(0.02);
  });

  it('takes all that the bounds allow where the loss does not forbid it, and the least where it forbids all', async () => {
    const all = await machine({maxLoss: 1}, {scale: 1e-6}).found;
    expect(all).to.include({sparsity: 0.95, met: true});
    const none = await machine({maxLoss: 1e-6}, {scale: 10}, {least: 0.3, most: 0.9}).found;
    expect(none).to.include({sparsity: 0.3, met: false});
  });

  for (const target of [{speedup: 1.25}, {latencyMs: 8}]) {
    it(`finds the least sparsity for ${JSON.stringify(target)}`, async () => {
      const {sparsity, met} = await machine(target).found;
      expect(met).to.equal(true);
      const reached = 10 / machine(target).ms(sparsity);
      expect(reached).to.be.within(1.25, 1.25 * 1.03); // and hardly more
      expect(sparsity).to.be.within(1 / 3, 1 / 3 + 0.05); // 10 / (10 (1 - 0.6 s)) = 1.25 at a third
    });
  }

  it('takes the sparsity that the times of the layers foretell, if it is enough', async () => {
    const {found, count} = machine({speedup: 1.25}, {}, {...RANGE, speedGuess: 0.34});
    expect(await found).to.include({sparsity: 0.34, met: true});
    expect(count()).to.equal(1);
    const above = await machine({speedup: 1.25}, {}, {least: 0.5, most: 0.9, speedGuess: 0.1}).found;
    expect(above).to.include({sparsity: 0.5, met: true});
    expect(above.candidates).to.have.lengthOf(1);
  });

  it('says that the most is not fast enough, also where it was measured first', async () => {
    const found = await machine({speedup: 4}, {}, {least: 0, most: 0.5}).found;
    expect(found).to.include({sparsity: 0.5, met: false});
    expect(found.candidates.map(({sparsity}) => sparsity)).to.deep.equal([0.5]);
  });

  it('keeps a loss at exactly what is allowed', async () => {
    const found = await searchSparsity({maxLoss: 0.02}, RANGE, {
      loss: () => Promise.resolve({loss: 0.02, error: null}),
      speed: () => Promise.reject(new Error('not asked for')),
    });
    expect(found.met).to.equal(true);
    expect(found.candidates).to.have.lengthOf(1); // it is near enough, too
  });

  it('keeps a loss only if it is 1.3 standard errors below what is allowed', async () => {
    const metAt = async (loss: number) => {
      const measures = {
        loss: () => Promise.resolve({loss, error: 0.004}),
        speed: () => Promise.reject(new Error('not asked for')),
      };
      return (await searchSparsity({maxLoss: 0.02}, RANGE, measures)).met;
    };
    expect(await metAt(0.0147)).to.equal(true);
    expect(await metAt(0.0149)).to.equal(false);
  });

  it('ends after 7 measurements of a loss that jumps, each once, and gives them by rising sparsity', async () => {
    const measured: number[] = [];
    const {sparsity, met, candidates} = await searchSparsity({maxLoss: 0.02}, RANGE, {
      loss: (s) => Promise.resolve({loss: (measured.push(s), s < 0.123 ? 1e-6 : 5), error: 0}),
      speed: () => Promise.reject(new Error('not asked for')),
    });
    expect(met).to.equal(true);
    expect(sparsity).to.be.below(0.123);
    expect(measured).to.have.lengthOf(7);
    expect(candidates.map((candidate) => candidate.sparsity)).to.deep.equal(
      [...measured].sort((a, b) => a - b),
    );
    const none = machine({maxLoss: 1e-6}, {scale: 10}, {least: 0.3, most: 0.9});
    expect((await none.found).candidates).to.have.lengthOf(none.count());
  });

  it('does not call a speed met that is out of reach, though the loss is kept', async () => {
    const found = await machine({speedup: 4, maxLoss: 1}, {scale: 1e-6}).found;
    expect(found).to.include({sparsity: 0.95, met: false});
  });

  it('looks for the loss at no more than the speed needs', async () => {
    const {candidates} = await machine({speedup: 1.25, maxLoss: 0.005}).found;
    const losses = candidates.filter(({loss}) => loss !== null).map((candidate) => candidate.sparsity);
    const fast = candidates.filter(({speed}) => speed !== null && speed.ms <= 8);
    expect(Math.max(...losses)).to.be.at.most(Math.min(...fast.map((candidate) => candidate.sparsity)));
  });

  it('masks no more than the least where that is as fast already, in 3 measurements', async () => {
    const found = await searchSparsity({speedup: 2}, RANGE, {
      loss: () => Promise.reject(new Error('not asked for')),
      speed: (s) => Promise.resolve({denseMs: 10, ms: 4 - s}),
    });
    expect(found).to.include({sparsity: 0, met: true});
    expect(found.candidates).to.have.lengthOf(3);
  });

  it('refuses measurements that are no numbers', async () => {
    const measures = (loss: number, ms: number) => ({
      loss: () => Promise.resolve({loss, error: 0}),
      speed: () => Promise.resolve({denseMs: 10, ms}),
    });
    await rejection(() => searchSparsity({maxLoss: 0.1}, RANGE, measures(NaN, 1)), 'bad-measure');
    await rejection(() => searchSparsity({speedup: 2}, RANGE, measures(0, NaN)), 'bad-measure');
    const {met} = await searchSparsity({maxLoss: 0.1}, RANGE, measures(Infinity, 1));
    expect(met).to.equal(false);
  });

  it('says that a speed is out of reach, and comes nearest', async () => {
    expect(await machine({speedup: 4}).found).to.include({sparsity: 0.95, met: false});
  });

  it('takes the least sparsity for a speed if it keeps the loss', async () => {
    const {sparsity, met} = await machine({speedup: 1.25, maxLoss: 0.1}).found;
    expect(met).to.equal(true);
    expect(sparsity).to.be.within(1 / 3, 0.39);
  });

  it('else keeps the loss, and says that the speed is not met', async () => {
    const {found, loss} = machine({speedup: 2, maxLoss: 0.1});
    const {sparsity, met, candidates} = await found;
    expect(met).to.equal(false);
    expect(loss(sparsity)).to.be.within(0.088, 0.1);
    expect(candidates.find((candidate) => candidate.sparsity === sparsity)!.speed).not.to.equal(null);
  });
});
