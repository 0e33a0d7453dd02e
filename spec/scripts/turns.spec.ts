import {expect} from 'chai';
import {medianInterval, timeInTurns} from '../../scripts/bench/measure/turns.js';

describe('timing in turns', () => {
  /** A side that gives these figures one after the other, the last for good. */
  const side = (name: string, figures: readonly number[], log: string[]) => {
    let turn = 0;
    return () => {
      log.push(name);
      return Promise.resolve(figures[Math.min(turn++, figures.length - 1)]);
    };
  };

  it('goes around until all medians are settled, and does not count the first round', async () => {
    const log: string[] = [];
    const rounds: number[] = [];
    const settled = await timeInTurns([side('a', [1, 10], log), side('b', [900, 30], log)], {
      least: 3,
      onRound: ({done}) => rounds.push(done),
    });
    expect(log.join('')).to.equal('abababab');
    expect(rounds).to.deep.equal([1, 2, 3]);
    expect(settled).to.deep.equal([
      {median: 10, interval: [10, 10], settled: true},
      {median: 30, interval: [30, 30], settled: true},
    ]);
  });

  it('goes on while one is not settled, and takes what was measured since', async () => {
    const log: string[] = [];
    // 6 rounds reach from 80 to 120; of 8 the least and the greatest are left out.
    const noisy = [0, 80, 120, 100, 100, 100, 100];
    const [{median, settled}] = await timeInTurns([side('a', noisy, log)], {within: 0.01});
    expect({median, settled}).to.deep.equal({median: 100, settled: true});
    expect(log).to.have.length(1 + 8);
  });

  it('says which are not settled when the time is up', async () => {
    const figures = await timeInTurns([side('a', [0, 5, 10], []), side('b', [0, 7], [])], {
      least: 2,
      seconds: 0,
    });
    expect(figures).to.deep.equal([
      {median: 7.5, interval: [5, 10], settled: false},
      {median: 7, interval: [7, 7], settled: true},
    ]);
  });

  for (const [count, interval] of [
    [1, [1, 1]],
    [6, [1, 6]],
    [8, [2, 7]],
    [16, [5, 12]],
  ] as const) {
    it(`takes the median of ${count} between the ranks ${interval[0]} and ${interval[1]}`, () => {
      // Exact probabilities that the median is within: 6 of 6 0.969, 2 to 7 of 8 0.930, 5 to 12 of 16 0.923.
      expect(medianInterval(Array.from({length: count}, (_, i) => count - i))).to.deep.equal(interval);
    });
  }
});
