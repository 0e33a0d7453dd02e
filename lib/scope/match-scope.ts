/**
 * @file Which nodes of a graph a scope matches, and which of its rules match nothing. The rules are NNCF's
 * (nncf/scopes.py): names, types and the ends of subgraphs are exact, patterns are anchored at the start.
 */
import {nearest, ScopeError} from '../errors.js';
import {type ModelGraph, nodesBetween} from './model-graph.js';
import {compilePattern} from './name-pattern.js';
import {describeSubgraph, type Scope} from './target-scope.js';

/** Most names that a message lists. */
const MAX_LISTED = 3;
/** Shortest word to look for similar names: every name is near a shorter one. */
const MIN_WORD = 3;

/**
 * The nodes that a scope matches.
 * @param graph the nodes and edges to match against.
 * @param scope the rules.
 * @param hinted names of the nodes that hints may propose; all by default.
 * @returns indices of the matched nodes, ascending.
 * @throws ScopeError
 *   `invalid-pattern` for a pattern that is not a regular expression;
 *   `unknown-node` for a subgraph whose end does not exist, even with `validate: false`;
 *   and unless `validate` is false, for rules that match nothing: `unmatched-ignored-rule` if the scope is an
 *   ignored one, else `unmatched-rule` for names, patterns and types and `unmatched-subgraph` for subgraphs.
 */
export function matchScope(
  graph: ModelGraph,
  scope: Scope,
  hinted: readonly string[] = names(graph),
): number[] {
  const {nodes} = graph;
  const matched = new Set<number>();
  const complaints: string[] = [];
  const unmatched = {names: [] as string[], patterns: [] as string[], types: [] as string[]};
  let emptySubgraphs = 0;

  /** Adds the nodes that pass, and says whether there was any. */
  const add = (passes: (node: ModelGraph['nodes'][number]) => boolean): boolean => {
    let any = false;
    for (const [i, node] of nodes.entries()) {
      if (passes(node)) {
        matched.add(i);
        any = true;
      }
    }
    return any;
  };

  for (const name of scope.names) {
    if (!add((node) => node.name === name)) {
      unmatched.names.push(name);
      complaints.push(complainOfName(name, graph, hinted));
    }
  }
  for (const text of scope.patterns) {
    const pattern = compilePattern(text);
    if (!add((node) => pattern.matches(node.name))) {
      unmatched.patterns.push(text);
      const free = nodes.some((node) => pattern.occursIn(node.name));
      const hint = free
        ? `patterns are anchored at the start: write '${pattern.unanchored}'`
        : suggest(longestWord(text), hinted, 'nodes');
      complaints.push(`pattern "${text}" matches no node; ${hint}`);
    }
  }
  for (const type of scope.types) {
    if (!add((node) => node.type === type)) {
      unmatched.types.push(type);
      const types = [...new Set(nodes.map((node) => node.type))];
      complaints.push(`type "${type}" is the type of no node; ${suggest(type, types, 'types')}`);
    }
  }
  for (const subgraph of scope.subgraphs) {
    const inputs = subgraph.inputs.map((name) => indexOf(name, graph));
    const outputs = subgraph.outputs.map((name) => indexOf(name, graph));
    const between = nodesBetween(graph, inputs, outputs);
    for (const node of between) {
      matched.add(node);
    }
    if (between.size === 0) {
      emptySubgraphs++;
      complaints.push(
        `subgraph ${describeSubgraph(subgraph)} holds no node: no directed path leads from its inputs to ` +
          'its outputs; name the node that comes first in inputs',
      );
    }
  }

  if (scope.validate && complaints.length > 0) {
    const what = scope.role === 'ignored' ? 'ignored' : 'target';
    throw new ScopeError(
      unmatchedCode(scope, complaints.length > emptySubgraphs),
      `a rule of the ${what} scope matches nothing: ${complaints.join('; ')}. ` +
        'Correct the rule, or set validate: false to allow it',
      {scope, ...unmatched, complaints},
    );
  }
  return [...matched].sort((a, b) => a - b);
}

function unmatchedCode(scope: Scope, anyRule: boolean): string {
  if (scope.role === 'ignored') {
    return 'unmatched-ignored-rule';
  }
  return anyRule ? 'unmatched-rule' : 'unmatched-subgraph';
}

function indexOf(name: string, graph: ModelGraph): number {
  const index = graph.nodes.findIndex((node) => node.name === name);
  if (index < 0) {
    throw new ScopeError(
      'unknown-node',
      `a subgraph names "${name}", but there is no such node; ${suggest(name, names(graph), 'nodes')}`,
      {name, nearest: similar(name, names(graph))},
    );
  }
  return index;
}

function complainOfName(name: string, graph: ModelGraph, hinted: readonly string[]): string {
  const text = `name "${name}" is the name of no node`;
  if (isPatternMatching(name, graph)) {
    return `${text}; names are exact: write it in patterns`;
  }
  return `${text}; ${suggest(name, hinted, 'nodes')}`;
}

/** Whether a name holds a regular expression's characters and, read as a pattern, would match a node. */
function isPatternMatching(name: string, graph: ModelGraph): boolean {
  if (!/[*+?^$|[\](){}\\]/.test(name)) {
    return false;
  }
  try {
    const pattern = compilePattern(name);
    return graph.nodes.some((node) => pattern.matches(node.name));
  } catch {
    return false;
  }
}

function names({nodes}: ModelGraph): string[] {
  return nodes.map((node) => node.name);
}

/** `nearest nodes: "a", "b"`, or the first few known ones when none is near. */
function suggest(word: string, known: readonly string[], kind: string): string {
  const near = similar(word, known);
  const list = (items: readonly string[]) => items.map((item) => `"${item}"`).join(', ');
  if (near.length > 0) {
    return `nearest ${kind}: ${list(near)}`;
  }
  const more = known.length > MAX_LISTED ? ` and ${known.length - MAX_LISTED} more` : '';
  return known.length > 0 ? `there are ${list(known.slice(0, MAX_LISTED))}${more}` : `there are no ${kind}`;
}

/** Names that contain the word, then names with a path segment near it, then names near it. */
function similar(word: string, known: readonly string[]): string[] {
  if (word.length < MIN_WORD) {
    return [];
  }
  const containing = known.filter((name) => name.toLowerCase().includes(word.toLowerCase()));
  const segments = new Map<string, string>();
  for (const name of known) {
    for (const segment of name.split(/[/.]/)) {
      segments.set(segment, segments.get(segment) ?? name);
    }
  }
  const bySegment = nearest(word, segments.keys()).map((segment) => segments.get(segment) ?? segment);
  return [...new Set([...containing, ...bySegment, ...nearest(word, known)])].slice(0, MAX_LISTED);
}

/** The longest stretch of a pattern that is plain text. */
function longestWord(pattern: string): string {
  const words = pattern.match(/[\w/]+/g) ?? [];
  return words.reduce((longest, word) => (word.length > longest.length ? word : longest), '');
}
