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

  for (const seed of [0, 1, 12345, -1, 2 ** 31]) {
    it(`is mulberry32, seed ${seed}`, () => {
      const random = seededRandom(seed);
      // The generator as it is published, in integers of any size cut to 32 bits.
      const cut = (value: bigint) => BigInt.asUintN(32, value);
      let state = cut(BigInt(seed));
      for (let i = 0; i < 20; i++) {
        state = cut(state + 0x6d2b79f5n);
        let t = cut((state ^ (state >> 15n)) * (state | 1n));
        t = cut(t ^ (t + cut((t ^ (t >> 7n)) * (t | 61n))));
        expect(random()).to.equal(Number(t ^ (t >> 14n)) / 2 ** 32);
      }
    });
  }

  it('shuffles from the end, each place with any up to it, itself included', () => {
    expect([...shuffledIndices(3, () => 0)]).to.deep.equal([1, 2, 0]);
    expect([...shuffledIndices(3, () => 1 - 2 ** -32)]).to.deep.equal([0, 1, 2]);
    expect([...shuffledIndices(0, () => 0)]).to.deep.equal([]);
  });

  it('shuffles every index to a place', () => {
    const order = shuffledIndices(100, seededRandom(1));
    expect([...order].sort((a, b) => a - b)).to.deep.equal(Array.from({length: 100}, (_, i) => i));
  });
});
