import {expect} from 'chai';
import {withScopes, withSentScopes} from '../../../lib/language/page/sent-scopes.js';
import {IgnoredScope, TargetScope} from '../../../lib/scope/target-scope.js';

const sent = (value: unknown) => withScopes(structuredClone(withSentScopes(value)));

describe('scopes on their way to the worker', () => {
  const target = new TargetScope({
    names: ['a'],
    patterns: ['.*up'],
    types: ['Dense'],
    subgraphs: [{inputs: ['a'], outputs: ['b']}],
    validate: false,
  });

  it('stay what they are, with all rules', () => {
    const got = sent(target) as TargetScope;
    expect(got).to.be.an.instanceOf(TargetScope);
    expect(got.equals(target)).to.equal(true);
    expect(sent(new IgnoredScope({names: ['x']}))).to.be.an.instanceOf(IgnoredScope);
  });

  it('are found in pairs, Maps and options', () => {
    const pairs = sent([[target, 0.5]]) as [TargetScope, number][];
    expect(pairs[0][0].equals(target)).to.equal(true);
    expect(pairs[0][1]).to.equal(0.5);
    const map = sent({targetSparsityByScope: new Map([[target, 0.3]])}) as {
      targetSparsityByScope: Map<TargetScope, number>;
    };
    const [[scope, share]] = [...map.targetSparsityByScope];
    expect(scope.equals(target)).to.equal(true);
    expect(share).to.equal(0.3);
  });

  it('leave all else as it is', () => {
    const ids = [1, 2, 3];
    expect(withSentScopes(ids)).to.equal(ids);
    const bytes = new Uint8Array(3);
    expect(withSentScopes(bytes)).to.equal(bytes);
    for (const value of [null, undefined, 'text', 0.5, {a: [{b: null}]}, ['a', 'b']]) {
      expect(sent(value)).to.deep.equal(value);
    }
  });
});
