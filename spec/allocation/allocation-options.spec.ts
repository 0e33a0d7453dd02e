import {expect} from 'chai';
import {parseTarget} from '../../lib/allocation/allocation-options.js';
import type {AllocationTarget} from '../../lib/metadata/allocation.js';
import {failure} from '../support/io/files.js';

describe('parseTarget', () => {
  for (const [what, target, said] of [
    ['a part that there is not', {speed: 2}, 'there is no "speed"'],
    ['a mean sparsity beside a bound', {sparsity: 0.5, maxLoss: 0.02}, 'leave the other parts'],
    ['two ways to ask for speed', {speedup: 2, latencyMs: 5}, 'leave one out'],
    ['nothing at all', {maxLoss: undefined}, 'empty'],
    ['a loss that is no number', {maxLoss: '2 %'}, 'maxLoss is 2 %'],
  ] as const) {
    it(`refuses ${what}, and says so`, async () => {
      const error = await failure(() => parseTarget(target as unknown as AllocationTarget));
      expect(error.code).to.equal('bad-target');
      expect(error.message).to.include(said);
    });
  }

  it('takes a number for the mean sparsity, and leaves out what is not given', () => {
    expect(parseTarget(0.5)).to.deep.equal({sparsity: 0.5});
    expect(parseTarget({maxLoss: 0.02, speedup: undefined})).to.deep.equal({maxLoss: 0.02});
  });
});
