import {expect} from 'chai';
import {
  describeBytes,
  describeCount,
  describeMs,
  meanOf,
  percent,
  significant,
  times,
} from '../../lib/report/number-format.js';

describe('figures as people read them', () => {
  for (const [bytes, text] of [
    [0, '0 B'],
    [0.5, '1 B'], // toFixed rounds the half up
    [1, '1 B'],
    [999, '999 B'],
    [1000, '1.0 KB'],
    [8192, '8.2 KB'],
    [999_949, '999.9 KB'],
    [1e6, '1.0 MB'],
    [538_060_032, '538.1 MB'],
    [1.5e9, '1.5 GB'],
    [1.5e13, '15000.0 GB'],
  ] as const) {
    it(`writes ${bytes} bytes as ${text}`, () => expect(describeBytes(bytes)).to.equal(text));
  }

  for (const [value, text] of [
    [0, '0'],
    [1, '1'],
    [0.12345, '0.123'],
    [-0.12345, '-0.123'],
    [99.99, '100'],
    [999.6, '1000'],
    [1000, '1,000'],
    [12345.6, '12,346'],
    [9_999_999, '9,999,999'],
    [1e7, '1.00e+7'],
    [0.0001, '0.0001'],
    [0.00009, '9.00e-5'],
    [-2e7, '-2.00e+7'],
  ] as const) {
    it(`writes ${value} as ${text}`, () => expect(significant(value)).to.equal(text));
  }

  for (const [count, text] of [
    [999_999, '999,999'],
    [1e6, '1.0 million'],
    [134_515_008, '134.5 million'],
    [1e9, '1.00 billion'],
    [7_241_732_096, '7.24 billion'],
  ] as const) {
    it(`counts ${count} as ${text}`, () => expect(describeCount(count)).to.equal(text));
  }

  for (const [ms, text] of [
    [0.0125, '12.5 µs'],
    [0.9994, '999 µs'],
    [1, '1 ms'],
    [46.534, '46.5 ms'],
  ] as const) {
    it(`writes ${ms} ms as ${text}`, () => expect(describeMs(ms)).to.equal(text));
  }

  it('writes shares and ratios, and means what there is', () => {
    expect([percent(0.12345), percent(0.12345, 2), percent(1, 0)]).to.deep.equal([
      '12.3 %',
      '12.35 %',
      '100 %',
    ]);
    expect(times(1.836)).to.equal('1.84x');
    expect(meanOf([1, 2, 6])).to.equal(3);
    expect(meanOf([])).to.equal(null);
  });
});
