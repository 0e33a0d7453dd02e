import {expect} from 'chai';
import {selectBounds, type AllocationScopes} from '../../lib/allocation/bounds.js';
import {IgnoredScope, TargetScope} from '../../lib/scope/target-scope.js';
import {rejection} from '../support/rejection.js';

const GRAPH = {
  nodes: [
    {name: 'a', type: 'Dense'},
    {name: 'b', type: 'Dense'},
    {name: 'c', type: 'Dense'},
    {name: 'flat', type: 'Flatten'},
  ],
  edges: [],
};

const boundsOf = (scopes?: AllocationScopes, ignored: IgnoredScope | null = null) =>
  Object.fromEntries(selectBounds(GRAPH, scopes, ignored, new Set(['Dense'])));
const named = (...names: string[]) => new TargetScope({names});
const FREE = {minimum: 0, maximum: 0.95};

describe('selectBounds', () => {
  it('lets all layers be free from 0 to 0.95 unless told otherwise', () => {
    expect(boundsOf()).to.deep.equal({a: FREE, b: FREE, c: FREE});
    expect(boundsOf(named('b'))).to.deep.equal({b: FREE});
    expect(boundsOf(undefined, new IgnoredScope({names: ['a', 'c']}))).to.deep.equal({b: FREE});
  });

  for (const [what, scopes] of [
    ['an object', {a: {minimum: 0.2, maximum: 0.4}, '[bc]': {maximum: 1}}],
    [
      'pairs',
      [
        [named('a'), {minimum: 0.2, maximum: 0.4}],
        [named('b', 'c'), {maximum: 1}],
      ],
    ],
    [
      'a Map',
      new Map([
        [named('a'), {minimum: 0.2, maximum: 0.4}],
        [named('b', 'c'), {maximum: 1}],
      ]),
    ],
  ] as [string, AllocationScopes][]) {
    it(`takes bounds from ${what}`, () => {
      const wide = {minimum: 0, maximum: 1};
      expect(boundsOf(scopes)).to.deep.equal({a: {minimum: 0.2, maximum: 0.4}, b: wide, c: wide});
    });
  }

  it('takes a minimum that is the maximum, and one above what is usual', () => {
    expect(boundsOf({'.*': {minimum: 0.4, maximum: 0.4}}).a).to.deep.equal({minimum: 0.4, maximum: 0.4});
    expect(boundsOf({'.*': {minimum: 0.97}}).a).to.deep.equal({minimum: 0.97, maximum: 0.97});
    expect(boundsOf({'.*': {minimum: 0.3}}).a).to.deep.equal({minimum: 0.3, maximum: 0.95});
  });

  it('refuses a minimum above the maximum, and what is no share', async () => {
    const error = await rejection(() => boundsOf({a: {minimum: 0.41, maximum: 0.4}}), 'invalid-bounds');
    expect(error.message).to.include('0.41').and.include('0.4').and.include('"a"');
    for (const bounds of [{minimum: -0.1}, {maximum: 1.1}, {minimum: NaN}, {maximum: NaN}]) {
      await rejection(() => boundsOf({'.*': bounds}), 'target-out-of-range');
    }
  });

  it('refuses a layer that is in two scopes', async () => {
    await rejection(() => boundsOf({a: {}, '.*': {minimum: 0.1}}), 'overlap');
  });
});
