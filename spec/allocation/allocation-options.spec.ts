import {expect} from 'chai';
import {
  ALLOCATION_METHODS,
  checkMethod,
  checkReachable,
  checkWeighting,
  parseTarget,
} from '../../lib/allocation/allocation-options.js';
import type {AllocationTarget} from '../../lib/metadata/allocation.js';
import {failure} from '../support/io/files.js';

const WEIGHTINGS = ['weights', 'time'];
const WRONG = 'the target of the allocation is wrong: ';

describe('parseTarget', () => {
  for (const [what, target, said] of [
    [
      'a part that there is not',
      {speed: 2},
      'there is no "speed" in a target; it has sparsity, maxLoss, speedup, latencyMs',
    ],
    [
      'a part of every object',
      {toString: 2},
      'there is no "toString" in a target; it has sparsity, maxLoss, speedup, latencyMs',
    ],
    [
      'a mean sparsity beside a bound',
      {sparsity: 0.5, maxLoss: 0.02},
      'a mean sparsity leaves nothing to choose: leave the other parts of the target out',
    ],
    [
      'two ways to ask for speed',
      {speedup: 2, latencyMs: 5},
      'speedup and latencyMs are two ways to ask for one thing: leave one out',
    ],
    ['nothing at all', {maxLoss: undefined}, 'the target is empty: write {maxLoss: 0.02}, say'],
    ['a loss that is no number', {maxLoss: '2 %'}, 'maxLoss is 2 %; it must be above 0: write 0.02 for 2 %'],
    [
      'text that reads as a number',
      {maxLoss: '0.5'},
      'maxLoss is 0.5; it must be above 0: write 0.02 for 2 %',
    ],
    ...['0.5', null, [0.5], true].map(
      (target) =>
        [
          JSON.stringify(target),
          target,
          'it must be a mean sparsity, as 0.5, or an object, as {maxLoss: 0.02}',
        ] as const,
    ),
    ...[-0.01, 1.01, NaN].map(
      (value) =>
        [
          `a mean of ${value}`,
          value,
          `sparsity is ${value}; it must lie in [0, 1]: write 0.5 for 50 %`,
        ] as const,
    ),
    ...[0, -1, Infinity, NaN].flatMap((value) => [
      [
        `a loss of ${value}`,
        {maxLoss: value},
        `maxLoss is ${value}; it must be above 0: write 0.02 for 2 %`,
      ] as const,
      [
        `a latency of ${value}`,
        {latencyMs: value},
        `latencyMs is ${value}; it must be above 0, in milliseconds`,
      ] as const,
    ]),
    ...[0.99, Infinity, NaN].map(
      (value) =>
        [
          `a speedup of ${value}`,
          {speedup: value},
          `speedup is ${value}; it must be at least 1: write 1.4 for 1.4 times as fast`,
        ] as const,
    ),
  ] as const) {
    it(`refuses ${what}, and says so`, async () => {
      const error = await failure(() => parseTarget(target as unknown as AllocationTarget));
      expect(error.code).to.equal('bad-target');
      expect(error.message).to.equal(WRONG + said);
      const got: unknown = typeof target === 'number' ? {sparsity: target} : target;
      expect(error.data).to.deep.equal({target: got});
    });
  }

  for (const target of [
    {sparsity: 0},
    {sparsity: 1},
    {maxLoss: 1e-9},
    {maxLoss: 5},
    {speedup: 1},
    {latencyMs: 0.001},
    {maxLoss: 0.1, speedup: 2},
    {maxLoss: 0.1, latencyMs: 2},
  ]) {
    it(`takes ${JSON.stringify(target)}`, () => expect(parseTarget(target)).to.deep.equal(target));
  }

  it('takes a number for the mean sparsity, and leaves out what is not given', () => {
    expect(parseTarget(0.5)).to.deep.equal({sparsity: 0.5});
    expect(parseTarget({maxLoss: 0.02, speedup: undefined})).to.deep.equal({maxLoss: 0.02});
  });
});

describe('the words of an allocation', () => {
  it('are its methods and weightings', () => {
    for (const method of ALLOCATION_METHODS) checkMethod(method);
    for (const weighting of WEIGHTINGS) checkWeighting(weighting);
    expect(ALLOCATION_METHODS).to.deep.equal(['local', 'uniform', 'greedy']);
  });

  for (const [check, word, said, allowed] of [
    [
      checkMethod,
      'uniforn',
      'the method of the allocation is "uniforn"; it must be one of local, uniform, greedy: did you mean "uniform"?',
      ALLOCATION_METHODS,
    ],
    [
      checkMethod,
      'xyzxyzxyz',
      'the method of the allocation is "xyzxyzxyz"; it must be one of local, uniform, greedy: did you mean "local"?',
      ALLOCATION_METHODS,
    ],
    [
      checkWeighting,
      'tine',
      'the weighting of the allocation is "tine"; it must be one of weights, time: did you mean "time"?',
      WEIGHTINGS,
    ],
  ] as const) {
    it(`refuse "${word}", and name the nearest`, async () => {
      const error = await failure(() => check(word));
      expect(error.code).to.equal('unknown-method');
      expect(error.message).to.equal(said);
      expect(error.data).to.deep.equal({got: word, allowed});
    });
  }
});

describe('checkReachable', () => {
  const range = {least: 0.25, most: 0.75};

  it('takes the bounds themselves, as they come out of sums', () => {
    for (const mean of [0.25, 0.25 - 5e-10, 0.5, 0.75, 0.75 + 5e-10]) checkReachable(mean, range);
  });

  for (const mean of [0.2499, 0.25 - 5e-9, 0.75 + 5e-9, 0.7501]) {
    it(`refuses ${mean} between 0.25 and 0.75, and says what is allowed`, async () => {
      const error = await failure(() => checkReachable(mean, range));
      expect(error.code).to.equal('target-out-of-range');
      expect(error.message).to.equal(
        `the mean sparsity is ${mean}; the bounds of the layers allow 0.250 to 0.750: ask for one between, or give the ` +
          'scopes other bounds',
      );
      expect(error.data).to.deep.equal({target: mean, ...range});
    });
  }
});
