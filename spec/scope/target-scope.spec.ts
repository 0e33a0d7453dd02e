import {expect} from 'chai';

import {ScopeError} from '../../lib/errors.js';
import {IgnoredScope, type ScopeOptions, TargetScope} from '../../lib/scope/target-scope.js';

const rules: ScopeOptions = {
  names: ['a'],
  patterns: ['b.*'],
  types: ['Dense'],
  subgraphs: [{inputs: ['a'], outputs: ['b', 'c']}],
};

function errorOf(options: unknown): ScopeError {
  try {
    new TargetScope(options as ScopeOptions);
  } catch (error) {
    expect(error).to.be.instanceOf(ScopeError);
    return error as ScopeError;
  }
  throw new Error('expected a ScopeError');
}

describe('TargetScope', () => {
  it('holds copies of its rules', () => {
    const names = ['a'];
    const scope = new TargetScope({names});
    names.push('b');
    expect(scope.names).to.deep.equal(['a']);
    expect(Object.isFrozen(scope.names)).to.equal(true);
    expect(scope).to.deep.include({patterns: [], types: [], subgraphs: [], validate: true});
  });

  it('keeps its rules from being changed, those of a subgraph too', () => {
    const subgraph = {inputs: ['a'], outputs: ['b']};
    const types = ['Dense'];
    const patterns = ['a'];
    const scope = new TargetScope({types, patterns, subgraphs: [subgraph]});
    types.push('x');
    patterns.push('x');
    subgraph.inputs.push('x');
    subgraph.outputs.push('x');
    expect(scope).to.deep.include({types: ['Dense'], patterns: ['a']});
    expect(scope.subgraphs).to.deep.equal([{inputs: ['a'], outputs: ['b']}]);
    const [{inputs, outputs}] = scope.subgraphs;
    for (const list of [scope.types, scope.patterns, scope.subgraphs, inputs, outputs]) {
      expect(list).to.be.frozen;
    }
  });

  it('equals a scope with the same rules', () => {
    expect(new TargetScope(rules).equals(new TargetScope(rules))).to.equal(true);
    expect(new TargetScope().equals(new TargetScope())).to.equal(true);
  });

  for (const [what, change] of [
    ['names', {names: ['A']}],
    ['more patterns', {patterns: ['b.*', 'c']}],
    ['fewer patterns', {patterns: []}],
    ['types', {types: []}],
    ['more subgraph outputs', {subgraphs: [{inputs: ['a'], outputs: ['b', 'c', 'd']}]}],
    ['subgraph inputs', {subgraphs: [{inputs: ['x'], outputs: ['b', 'c']}]}],
    ['the order of subgraph outputs', {subgraphs: [{inputs: ['a'], outputs: ['c', 'b']}]}],
    ['more subgraphs', {subgraphs: []}],
    ['validate', {validate: false}],
  ] as [string, ScopeOptions][]) {
    it(`differs by ${what}`, () => {
      expect(new TargetScope(rules).equals(new TargetScope({...rules, ...change}))).to.equal(false);
    });
  }

  it('differs from an IgnoredScope with the same rules', () => {
    expect(new TargetScope(rules).equals(new IgnoredScope(rules))).to.equal(false);
  });

  it('describes itself', () => {
    expect(new TargetScope(rules).describe()).to.equal(
      'names "a", patterns "b.*", types "Dense", subgraphs "a" -> "b" | "c"',
    );
    expect(new TargetScope().describe()).to.equal('no rules');
  });

  it('names the nearest option for an unknown one', () => {
    const error = errorOf({pattern: ['.*']});
    expect(error.code).to.equal('unknown-option');
    expect(error.message).to.include('no option "pattern"').and.include('write "patterns"');
    expect(errorOf({somethingElse: 1}).message).to.include('remove it');
  });

  for (const [options, text] of [
    [{patterns: '.*up'}, 'write [".*up"]'],
    [{patterns: [/.*up/]}, 'write its source, ".*up"'],
    [{names: [1]}, 'names[0] is 1; it must be a string'],
    [{types: {}}, 'types is [object Object]; it must be an array'],
    [{validate: 'no'}, 'it must be true or false'],
    [{subgraphs: {}}, 'subgraphs is'],
    [{subgraphs: [{inputs: ['a']}]}, 'subgraphs[0] is'],
    [{subgraphs: [null]}, 'subgraphs[0] is null'],
    [{subgraphs: [{inputs: ['a'], outputs: [2]}]}, 'subgraphs[0].outputs[0] is 2'],
    [{subgraphs: [{inputs: 'a', outputs: ['b']}]}, 'write ["a"]'],
    ['.*', 'the options of a scope is the string ".*"'],
    [null, 'an object: write'],
    [['.*'], 'an object: write'],
  ] as [unknown, string][]) {
    it(`rejects ${JSON.stringify(options)}`, () => {
      const error = errorOf(options);
      expect(error.code).to.equal('invalid-option');
      expect(error.message).to.include(text);
    });
  }
});
