import {expect} from 'chai';
import type {Allocation} from '../../lib/metadata/allocation.js';
import {targetsIn} from '../../lib/allocation/allocation-targets.js';
import {TargetScope} from '../../lib/scope/target-scope.js';

describe('the targets of an allocation', () => {
  it('are a scope for each target, of all layers that have it', () => {
    const layers = (
      [
        ['a', 0.5],
        ['b', 0.25],
        ['c', 0.5],
        ['d', 0.5],
      ] as const
    ).map(([path, target]) => ({path, target, weights: 1, minimum: 0, maximum: 1, predictedError: null}));
    const allocation = {version: 1, layers, curve: [], probes: null} as unknown as Allocation;
    expect(targetsIn(allocation)).to.deep.equal([
      [new TargetScope({names: ['a', 'c', 'd']}), 0.5],
      [new TargetScope({names: ['b']}), 0.25],
    ]);
  });

  it('are those given where there is no allocation', () => {
    const given = {'.*': 0.5};
    expect(targetsIn(given)).to.equal(given);
  });
});
