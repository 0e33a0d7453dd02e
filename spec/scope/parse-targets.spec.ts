import {readFileSync} from 'node:fs';

import {expect} from 'chai';

import {ScopeError} from '../../lib/errors.js';
import {IgnoredScope, TargetScope} from '../../lib/scope/target-scope.js';
import {parseTargets, type TargetSparsityByScope} from '../../lib/scope/parse-targets.js';

function codeOf(targets: unknown): string {
  try {
    parseTargets(targets as TargetSparsityByScope);
  } catch (error) {
    expect(error).to.be.instanceOf(ScopeError);
    return (error as ScopeError).code;
  }
  return 'none';
}

const all = new TargetScope({patterns: ['.*']});

describe('parseTargets', () => {
  for (const [form, targets] of [
    ['pairs', [[all, 0.5]]],
    ['a Map', new Map([[all, 0.5]])],
    ['an object', {'.*': 0.5}],
    ['an object without a prototype', Object.assign(Object.create(null) as object, {'.*': 0.5})],
  ] as [string, TargetSparsityByScope][]) {
    it(`reads ${form}`, () => {
      const [{scope, target}, ...rest] = parseTargets(targets);
      expect(rest).to.have.length(0);
      expect(scope.equals(all)).to.equal(true);
      expect(target).to.equal(0.5);
    });
  }

  it('keeps the first place and the last target of equal scopes', () => {
    const other = new TargetScope({names: ['x']});
    const entries = parseTargets([
      [all, 0.3],
      [other, 0.1],
      [new TargetScope({patterns: ['.*']}), 0.5],
    ]);
    expect(entries.map(({target}) => target)).to.deep.equal([0.5, 0.1]);
  });

  const edges = JSON.parse(
    readFileSync(new URL('../fixtures/nncf/api_edges.json', import.meta.url), 'utf8'),
  ) as {errors: {name: string; result?: object}[]};
  const values: Record<string, unknown> = {
    '-0.1': -0.1,
    '1.1': 1.1,
    '1+1e-12': 1 + 1e-12,
    NaN: NaN,
    'int 0': 0,
    'int 1': 1,
    "str '0.5'": '0.5',
    None: null,
  };
  const cases = edges.errors.filter(({name}) => name.startsWith('target_sparsity '));
  for (const {name, result} of cases) {
    const key = name.slice('target_sparsity '.length);
    it(`${result ? 'accepts' : 'rejects'} ${name}`, () => {
      expect(values).to.have.property(key);
      expect(codeOf([[all, values[key]]])).to.equal(result ? 'none' : 'target-out-of-range');
    });
  }

  for (const [what, targets] of [
    ['an IgnoredScope as key', [[new IgnoredScope({patterns: ['.*']}), 0.5]]],
    ['a string as key of a pair', [['.*', 0.5]]],
    ['a string as key of a Map', new Map([['.*', 0.5]])],
    ['a scope alone', all],
    ['an array of scopes', [all]],
    ['a pair of one', [[all]]],
    ['a pair of three', [[all, 0.5, 0.6]]],
    ['a date', new Date(0)],
    ['a number', 0.5],
    ['a string', '.*'],
    ['null', null],
  ] as [string, unknown][]) {
    it(`rejects ${what}`, () => {
      expect(codeOf(targets)).to.equal('invalid-scope');
    });
  }

  it('says what to write for a pattern as key of a pair, and for a target above 1', () => {
    expect(() => parseTargets([['.*up', 0.5]] as unknown as TargetSparsityByScope)).to.throw(
      'write new TargetScope({patterns: [".*up"]})',
    );
    expect(() => parseTargets({'.*up_proj.*': 1.2})).to.throw(
      'target sparsity is 1.2 for patterns ".*up_proj.*"; it must be a number in [0, 1]: write 0.5 for 50 %',
    );
  });
});
