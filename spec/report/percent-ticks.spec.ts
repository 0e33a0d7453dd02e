import {expect} from 'chai';
import {percentTicks} from '../../lib/report/percent-ticks.js';

describe('percentTicks', () => {
  const cases: [string, number[], number[], string[]][] = [
    ['whole per cent over the whole range', [0, 0.95], [0.2, 0.4], ['20 %', '40 %']],
    ['a digit where ticks are half a per cent apart', [0.203, 0.225], [0.205, 0.21], ['20.5 %', '21.0 %']],
    ['two where they are hundredths apart', [0.001, 0.0014], [0.001, 0.0011], ['0.10 %', '0.11 %']],
    ['none for a single value', [0.5], [0.5], ['50 %']],
  ];
  for (const [what, shares, ticks, expected] of cases) {
    it(`writes ${what}`, () => {
      expect(ticks.map(percentTicks(shares, 5))).to.deep.equal(expected);
    });
  }
});
