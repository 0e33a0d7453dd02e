import {expect} from 'chai';
import fc from 'fast-check';
import {rollingWindows, tokenChunks} from '../../../lib/language/evaluation/windows.js';

const BOS = 1;
const ids = (count: number, start = 10) => Array.from({length: count}, (_, i) => start + i);

describe('rolling windows', () => {
  it('hold a short document in one', () => {
    expect(rollingWindows([10, 11, 12], BOS, 5)).to.deep.equal([
      {tokens: [1, 10, 11], targets: [10, 11, 12], scored: 3},
    ]);
  });

  it('fill the last up with earlier text', () => {
    expect(rollingWindows(ids(7), BOS, 3)).to.deep.equal([
      {tokens: [1, 10, 11], targets: [10, 11, 12], scored: 3},
      {tokens: [12, 13, 14], targets: [13, 14, 15], scored: 3},
      {tokens: [13, 14, 15], targets: [14, 15, 16], scored: 1},
    ]);
  });

  it('of nothing are none', () => expect(rollingWindows([], BOS, 3)).to.deep.equal([]));

  it('score every token once, each after the one before', () => {
    const property = fc.property(
      fc.integer({min: 1, max: 100}),
      fc.integer({min: 1, max: 40}),
      (count, length) => {
        const windows = rollingWindows(ids(count), BOS, length);
        const scored = windows.flatMap(({targets, scored}) => targets.slice(-scored));
        expect(scored).to.deep.equal(ids(count));
        for (const {tokens, targets} of windows) {
          expect(tokens).to.have.length(targets.length).and.at.most(length);
          for (const [i, target] of targets.entries())
            expect(tokens[i]).to.equal(target === 10 ? BOS : target - 1);
        }
      },
    );
    fc.assert(property);
  });
});

describe('token chunks', () => {
  it('start with the prefix and do not overlap', () => {
    expect(tokenChunks(ids(5), BOS, 2)).to.deep.equal([
      {tokens: [1, 10], targets: [10, 11], scored: 2},
      {tokens: [1, 12], targets: [12, 13], scored: 2},
      {tokens: [1], targets: [14], scored: 1},
    ]);
  });
});
