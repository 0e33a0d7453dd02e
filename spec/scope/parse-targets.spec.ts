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

  const key = (scope: unknown, hint: string) =>
    [scope, `the key of a target sparsity must be a TargetScope: ${hint}`] as const;
  const FOR_ALL = "write new TargetScope({patterns: ['.*']}) for all layers";
  const FOR_PATTERN = 'write new TargetScope({patterns: [".*"]})';
  const PAIR = 'each entry of the array must be a pair [TargetScope, target sparsity]';
  const FORM =
    'targetSparsityByScope must be an array of [TargetScope, number], a Map, or an object from pattern to number: ' +
    "write {'.*up_proj.*': 0.5}";
  const ignored = new IgnoredScope({patterns: ['.*']});
  const bare = Object.create(Object.create(null) as object) as object;
  for (const [what, targets, got, [value, allowed]] of [
    ['an IgnoredScope as key', [[ignored, 0.5]], 'an object (IgnoredScope)', key(ignored, FOR_ALL)],
    ['a number as key', [[5, 0.5]], '5', key(5, FOR_ALL)],
    ['a string as key of a pair', [['.*', 0.5]], 'the string ".*"', key('.*', FOR_PATTERN)],
    ['a string as key of a Map', new Map([['.*', 0.5]]), 'the string ".*"', key('.*', FOR_PATTERN)],
    ['a scope alone', all, 'an object (TargetScope)', [all, FORM]],
    ['an array of scopes', [all], 'an object (TargetScope)', [all, PAIR]],
    ['a pair of one', [[all]], 'an object (Array)', [[all], PAIR]],
    ['a pair of three', [[all, 0.5, 0.6]], 'an object (Array)', [[all, 0.5, 0.6], PAIR]],
    ['a date', new Date(0), 'an object (Date)', [new Date(0), FORM]],
    ['an object of no class', bare, 'an object (Object)', [bare, FORM]],
    ['a number', 0.5, '0.5', [0.5, FORM]],
    ['a string', '.*', 'the string ".*"', ['.*', FORM]],
    ['null', null, 'null', [null, FORM]],
  ] as const) {
    it(`rejects ${what}, and says what to write`, () => {
      expect(() => parseTargets(targets as unknown as TargetSparsityByScope))
        .to.throw(ScopeError)
        .with.deep.include({code: 'invalid-scope', message: `got ${got}; ${allowed}`, data: {value}});
    });
  }

  for (const [target, got] of [
    ['0.5', 'the string "0.5"'],
    [null, 'null'],
    [{}, 'an object (Object)'],
    [-0.1, '-0.1'],
    [NaN, 'NaN'],
  ] as const) {
    it(`rejects ${got} for a target, and says for which scope`, () => {
      expect(() => parseTargets({'.*up': target as number}))
        .to.throw(ScopeError)
        .with.deep.include({
          code: 'target-out-of-range',
          message: `target sparsity is ${got} for patterns ".*up"; it must be a number in [0, 1]: write 0.5 for 50 %`,
          data: {target, scope: 'patterns ".*up"'},
        });
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
