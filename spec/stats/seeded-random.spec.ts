import {expect} from 'chai';
import {seededRandom, shuffledIndices} from '../../lib/stats/seeded-random.js';

describe('seededRandom', () => {
  it('is uniform in [0, 1): mean 1/2 within 5 standard errors of 10,000 draws', () => {
    const random = seededRandom(3);
    const draws = Array.from({length: 10_000}, random);
    expect(draws.every((value) => value >= 0 && value < 1)).to.equal(true);
    const mean = draws.reduce((sum, value) => sum + value, 0) / draws.length;
    expect(Math.abs(mean - 0.5)).to.be.below((5 * Math.sqrt(1 / 12)) / 100);
  });

  it('shuffles every index to a place', () => {
    const order = shuffledIndices(100, seededRandom(1));
    expect([...order].sort((a, b) => a - b)).to.deep.equal(Array.from({length: 100}, (_, i) => i));
  });
});
