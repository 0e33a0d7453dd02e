import {expect} from 'chai';
import {requestedTarget} from '../../lib/cli/allocation.js';
import {SparsifyError} from '../../lib/errors.js';

describe('what a command line asks for', () => {
  it('is a mean sparsity, a loss, a speed, or a loss of 1 % for --auto alone', () => {
    expect(requestedTarget({sparsity: 0.5, allocate: 'uniform'})).to.deep.equal({sparsity: 0.5});
    expect(requestedTarget({maxLoss: 0.02, speedup: 1.4})).to.include({maxLoss: 0.02, speedup: 1.4});
    expect(requestedTarget({auto: true, latency: 20})).to.include({latencyMs: 20});
    expect(requestedTarget({auto: true})).to.deep.equal({maxLoss: 0.01});
    expect(requestedTarget({target: []})).to.equal(null);
  });

  for (const [what, options] of [
    ['nothing', {}],
    ['two things', {sparsity: 0.5, auto: true}],
    ['targets by pattern with a method', {target: [], allocate: 'local'}],
  ] as const) {
    it(`is refused if it is ${what}`, () => {
      expect(() => requestedTarget(options)).to.throw(SparsifyError, '--sparsity');
    });
  }
});
