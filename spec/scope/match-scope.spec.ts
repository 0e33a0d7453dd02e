import {expect} from 'chai';
import {ScopeError} from '../../lib/errors.js';
import {matchScope} from '../../lib/scope/match-scope.js';
import {nodesBetween, type ModelGraph} from '../../lib/scope/model-graph.js';
import {IgnoredScope, TargetScope, type Scope} from '../../lib/scope/target-scope.js';

/** A chain of nodes. */
function chain(names: readonly string[], type = 'Dense'): ModelGraph {
  return {
    nodes: names.map((name) => ({name, type})),
    edges: names.slice(1).map((_, i) => [i, i + 1] as const),
  };
}

function messageOf(graph: ModelGraph, scope: Scope): string {
  try {
    matchScope(graph, scope);
  } catch (error) {
    expect(error).to.be.instanceOf(ScopeError);
    return (error as ScopeError).message;
  }
  throw new Error('expected a ScopeError');
}

describe('matchScope', () => {
  it('gives indices as the graph has them, each once, whatever the order of the rules', () => {
    const scope = new TargetScope({
      names: ['c', 'a'],
      patterns: ['c', 'b'],
      subgraphs: [{inputs: ['a'], outputs: ['b']}],
    });
    expect(matchScope(chain(['a', 'b', 'c', 'd']), scope)).to.deep.equal([0, 1, 2]);
  });

  it('takes a node that is input and output of a subgraph at once', () => {
    const scope = new TargetScope({subgraphs: [{inputs: ['b'], outputs: ['b']}]});
    expect(matchScope(chain(['a', 'b', 'c']), scope)).to.deep.equal([1]);
  });

  it('leaves rules without a match alone with validate: false, but no unknown end of a subgraph', () => {
    const graph = chain(['a', 'b']);
    const loose = {names: ['x'], patterns: ['x'], types: ['x'], validate: false};
    const backwards = [{inputs: ['b'], outputs: ['a']}];
    expect(matchScope(graph, new TargetScope({...loose, subgraphs: backwards}))).to.deep.equal([]);
    const unknown = new TargetScope({subgraphs: [{inputs: ['a'], outputs: ['x']}], validate: false});
    expect(() => matchScope(graph, unknown))
      .to.throw('no such node')
      .with.property('code', 'unknown-node');
  });

  describe('in its messages', () => {
    it('says of which scope the rule is', () => {
      const graph = chain(['a']);
      expect(messageOf(graph, new IgnoredScope({names: ['x']}))).to.include('of the ignored scope');
      expect(messageOf(graph, new TargetScope({names: ['x']}))).to.include('of the target scope');
    });

    for (const [what, names, word, hint] of [
      [
        'three names at most',
        ['up_1', 'up_2', 'up_3', 'up_4'],
        'up_',
        'nearest nodes: "up_1", "up_2", "up_3".',
      ],
      [
        'names that contain a word of three letters',
        ['mlp.up.0', 'head'],
        'up.',
        'nearest nodes: "mlp.up.0".',
      ],
      ['names whatever the case', ['MLP.Up_Proj', 'head'], 'up_proj', 'nearest nodes: "MLP.Up_Proj".'],
      ['no name near a word of two letters', ['up_1', 'down'], 'up', 'there are "up_1", "down".'],
      ['all names where three are known', ['a', 'b', 'c'], 'hidden', 'there are "a", "b", "c".'],
      ['how many more there are', ['a', 'b', 'c', 'd'], 'hidden', 'there are "a", "b", "c" and 1 more.'],
      ['that there is none', [], 'hidden', 'there are no nodes.'],
    ] as const) {
      it(`proposes ${what}`, () => {
        expect(messageOf(chain(names), new TargetScope({names: [word]}))).to.include(hint);
      });
    }

    it('looks for names by the longest word of a pattern', () => {
      const message = messageOf(chain(['up_proj', 'mlp']), new TargetScope({patterns: ['mlp_x.up_porj']}));
      expect(message).to.include('nearest nodes: "up_proj"');
    });
  });
});

describe('nodesBetween', () => {
  // 0 -> 1 -> 3 -> 4, 0 -> 2 -> 3, and 5 -> 4 from another input.
  const graph: ModelGraph = {
    nodes: Array.from({length: 6}, (_, i) => ({name: String(i), type: 'Dense'})),
    edges: [
      [0, 1],
      [1, 3],
      [0, 2],
      [2, 3],
      [3, 4],
      [5, 4],
    ],
  };
  for (const [inputs, outputs, between] of [
    [[0], [4], [0, 1, 2, 3, 4]],
    [[1], [3], [1, 3]],
    [[1, 5], [4], [1, 3, 4, 5]],
    [[2], [1, 3], [2, 3]],
    [[4], [0], []],
    [[2], [2], [2]],
  ] as const) {
    it(`holds ${between.join(', ') || 'nothing'} from ${inputs.join(', ')} to ${outputs.join(', ')}`, () => {
      expect([...nodesBetween(graph, inputs, outputs)].sort()).to.deep.equal(between);
    });
  }
});
