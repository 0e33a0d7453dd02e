import {readFileSync} from 'node:fs';

import {expect} from 'chai';

import {ScopeError} from '../../lib/errors.js';
import type {ModelGraph} from '../../lib/scope/model-graph.js';
import {selectTargets} from '../../lib/scope/select-targets.js';
import {IgnoredScope, type ScopeOptions, TargetScope} from '../../lib/scope/target-scope.js';
import type {TargetSparsityByScope} from '../../lib/scope/parse-targets.js';

interface ScopeCase {
  name: string;
  target_sparsity_by_scope: {scope: ScopeOptions; sparsity: number}[];
  ignored_scope: ScopeOptions | null;
  dict_size: number;
  sparsified?: Record<string, number>;
  error?: {kind: string};
}

const fixture = JSON.parse(
  readFileSync(new URL('../fixtures/nncf/scopes.json', import.meta.url), 'utf8'),
) as {
  graph_nodes: {name: string; type: string}[];
  graph_edges: [string, string, number][];
  cases: ScopeCase[];
};

const indexOf = new Map(fixture.graph_nodes.map(({name}, i) => [name, i]));
const graph: ModelGraph = {
  nodes: fixture.graph_nodes.map(({name, type}) => ({name, type})),
  edges: fixture.graph_edges.map(([from, to]) => [indexOf.get(from)!, indexOf.get(to)!]),
};
const supported = new Set(['linear']);

function select(targets: TargetSparsityByScope, ignored?: ScopeOptions): Record<string, number> {
  const scope = ignored === undefined ? null : new IgnoredScope(ignored);
  return Object.fromEntries(selectTargets(graph, targets, scope, supported));
}

function errorOf(act: () => unknown): ScopeError {
  try {
    act();
  } catch (error) {
    expect(error).to.be.instanceOf(ScopeError);
    return error as ScopeError;
  }
  throw new Error('expected a ScopeError');
}

describe('selectTargets', () => {
  describe("NNCF's cases", () => {
    it('are 56', () => {
      expect(fixture.cases).to.have.length(56);
    });
    for (const {name, target_sparsity_by_scope, ignored_scope, sparsified, error} of fixture.cases) {
      const act = () =>
        select(
          target_sparsity_by_scope.map(({scope, sparsity}) => [new TargetScope(scope), sparsity] as const),
          ignored_scope ?? undefined,
        );
      it(`${name}: ${error ? error.kind : `${Object.keys(sparsified!).length} nodes`}`, () => {
        if (error) {
          expect(errorOf(act).code).to.equal(error.kind);
        } else {
          expect(act()).to.deep.equal(sparsified);
        }
      });
    }
  });

  describe('messages', () => {
    const messageOf = (scope: ScopeOptions) => errorOf(() => select([[new TargetScope(scope), 0.5]])).message;

    it('say that patterns are anchored when one would match mid-name', () => {
      expect(messageOf({patterns: ['up_proj']})).to.include(
        "patterns are anchored at the start: write '.*up_proj'",
      );
      expect(messageOf({patterns: ['(?i)UP_PROJ']})).to.include("write '(?i).*UP_PROJ'");
    });
    it('name nodes that hold a word near the one in the pattern', () => {
      expect(messageOf({patterns: ['.*up_porj.*']})).to.match(/nearest nodes: "[^"]*up_proj/);
    });
    it('say that names are exact when one is a matching pattern', () => {
      expect(messageOf({names: ['lm_head.*']})).to.include('names are exact: write it in patterns');
    });
    it('name nodes that contain an unknown name, if they can be sparsified', () => {
      expect(messageOf({names: ['lm_head']})).to.match(/nearest nodes: "lm_head\/linear\/0"/);
      expect(messageOf({names: ['lm_head']})).to.not.include('"lm_head.weight"');
      expect(messageOf({names: ['(']})).to.include('is the name of no node');
    });
    it('name the nearest type', () => {
      expect(messageOf({types: ['Linear']})).to.include('nearest types: "linear"');
    });
    it('name known nodes when none is near', () => {
      expect(messageOf({patterns: ['[0-9]{40}']})).to.match(/there are "[^"]*\/linear\/0", .* and \d+ more/);
      expect(messageOf({names: ['']})).to.not.include('"ids"');
    });
    it('name an unknown end of a subgraph and what is near it', () => {
      const error = errorOf(() =>
        select([[new TargetScope({subgraphs: [{inputs: ['lm_haed/linear/0'], outputs: ['output']}]}), 0.5]]),
      );
      expect(error.code).to.equal('unknown-node');
      expect(error.data.nearest).to.include('lm_head/linear/0');
    });
    it('list every rule that matches nothing', () => {
      const error = errorOf(() =>
        select([[new TargetScope({names: ['nope'], patterns: ['nope.*'], types: ['nope_t']}), 0.5]]),
      );
      expect(error.data).to.deep.include({names: ['nope'], patterns: ['nope.*'], types: ['nope_t']});
    });
    it('give both targets of an overlap', () => {
      const error = errorOf(() => select({'.*up_proj.*': 0.3, '.*mlp.*': 0.5}));
      expect(error.message).to.include('".*up_proj.*" (0.3)').and.include('".*mlp.*" (0.5)');
    });
    it('say what could be sparsified when nothing is', () => {
      expect(errorOf(() => select([])).message).to.include('no target scope was given');
      expect(errorOf(() => select([])).message).to.include('"attn/q_proj/linear/0"');
      const none = errorOf(() => selectTargets({nodes: [], edges: []}, [], null, new Set(['Dense'])));
      expect(none.message).to.include('the model has no node of type Dense');
      const few = errorOf(() =>
        selectTargets({nodes: [{name: 'head', type: 'Dense'}], edges: []}, [], null, new Set(['Dense'])),
      );
      expect(few.message).to.match(/name one of "head"$/);
    });
    it('count what is in the scopes but of another type, and what is ignored', () => {
      const types = ['Dense', 'Dense', 'Dense', 'Conv2D', 'Flatten'];
      const mixed = {nodes: types.map((type, i) => ({name: `n${i}`, type})), edges: []};
      const error = errorOf(() =>
        selectTargets(
          mixed,
          {'.*': 0.5},
          new IgnoredScope({names: ['n0', 'n1', 'n2', 'n4']}),
          new Set(['Dense']),
        ),
      );
      expect(error.code).to.equal('nothing-to-sparsify');
      expect(error.message).to.include('2 have another type and 3 are ignored');
      expect(error.data).to.deep.include({unsupported: 2, ignored: 3});
      expect(error.message).to.match(/name one of "n0", "n1", "n2"$/); // three are not shortened
    });
    it('propose what can be sparsified, or any node where nothing can', () => {
      const nodes = ['flat_1', 'dense_1'].map((name) => ({name, type: name.split('_')[0]}));
      const hint = (types: string[]) =>
        errorOf(() => selectTargets({nodes, edges: []}, {qqqqqqqq: 0.5}, null, new Set(types))).message;
      expect(hint(['dense'])).to.include('there are "dense_1".');
      expect(hint(['conv'])).to.include('there are "flat_1", "dense_1".');
    });
  });

  it('reports a pattern without a match as unmatched-rule when a subgraph is empty too', () => {
    const subgraphs = [{inputs: ['seq/2/linear/0'], outputs: ['seq/0/linear/0']}];
    expect(errorOf(() => select([[new TargetScope({patterns: ['nope'], subgraphs}), 0.5]])).code).to.equal(
      'unmatched-rule',
    );
  });

  it('takes a TargetScope as the ignored scope', () => {
    const all = new TargetScope({types: ['linear']});
    const head = new TargetScope({patterns: ['(?!lm_head)']});
    expect([...selectTargets(graph, [[all, 0.5]], head, supported).keys()]).to.deep.equal([
      'lm_head/linear/0',
    ]);
  });

  it('lets two target scopes hold a node that is ignored', () => {
    const nodes = ['a', 'ab'].map((name) => ({name, type: 'linear'}));
    const targets = {a: 0.3, ab: 0.5};
    const ignored = new IgnoredScope({names: ['ab']});
    expect([...selectTargets({nodes, edges: []}, targets, ignored, supported)]).to.deep.equal([['a', 0.3]]);
    expect(errorOf(() => selectTargets({nodes, edges: []}, targets, null, supported)).code).to.equal(
      'overlap',
    );
  });

  it('orders its result as the graph does', () => {
    const names = [...selectTargets(graph, {lm_head: 0.1, 'attn/q': 0.2}, null, supported).keys()];
    expect(names).to.deep.equal(['attn/q_proj/linear/0', 'attn/q_proj/linear/1', 'lm_head/linear/0']);
  });

  it('takes a subgraph with several inputs and outputs', () => {
    const subgraphs = [
      {
        inputs: ['mlp/gate_proj/linear/0', 'mlp/up_proj/linear/0'],
        outputs: ['mlp/down_proj/linear/0', 'mlp/mul/0'],
      },
    ];
    expect(Object.keys(select([[new TargetScope({subgraphs}), 0.5]]))).to.have.members([
      'mlp/gate_proj/linear/0',
      'mlp/up_proj/linear/0',
      'mlp/down_proj/linear/0',
    ]);
  });
});
