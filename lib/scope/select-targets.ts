/**
 * @file Which nodes of a graph are sparsified, and how much: NNCF's rules, held by its reference vectors
 * (spec/fixtures/nncf/scopes.json). Checks go in this order: targets in range; the ignored scope; then each
 * target scope in turn, its rules first and overlaps with earlier scopes second; then whether anything is left.
 */
import {ScopeError} from '../errors.js';
import {matchScope} from './match-scope.js';
import type {ModelGraph} from './model-graph.js';
import type {Scope} from './target-scope.js';
import {parseTargets, type TargetEntry, type TargetSparsityByScope} from './parse-targets.js';

/**
 * The target sparsity of every node that is to be sparsified.
 * @param graph the model's nodes and edges.
 * @param targetSparsityByScope a target in [0, 1] for each scope.
 * @param ignoredScope nodes that stay as they are; it wins over every target. A TargetScope serves too.
 * @param supportedTypes types of the nodes that can be sparsified; others in a scope are passed over.
 * @returns node name to target, in the order of the graph's nodes; never empty.
 * @throws ScopeError `target-out-of-range`, `invalid-scope`, `invalid-pattern`, `unknown-node`,
 *   `unmatched-ignored-rule`, `unmatched-rule`, `unmatched-subgraph`; `overlap` when two scopes hold the same
 *   supported node that is not ignored; `nothing-to-sparsify` when no node is left.
 */
export function selectTargets(
  graph: ModelGraph,
  targetSparsityByScope: TargetSparsityByScope,
  ignoredScope: Scope | null | undefined,
  supportedTypes: ReadonlySet<string>,
): Map<string, number> {
  const entries = parseTargets(targetSparsityByScope);
  const supported = graph.nodes.filter(({type}) => supportedTypes.has(type)).map(({name}) => name);
  const hinted = supported.length > 0 ? supported : undefined;
  const ignored = new Set(ignoredScope ? matchScope(graph, ignoredScope, hinted) : []);
  const owner = new Map<number, TargetEntry>();
  let unsupported = 0;
  let skipped = 0;

  for (const entry of entries) {
    for (const node of matchScope(graph, entry.scope, hinted)) {
      if (!supportedTypes.has(graph.nodes[node].type)) {
        unsupported++;
      } else if (ignored.has(node)) {
        skipped++;
      } else if (owner.has(node)) {
        throw overlap(graph.nodes[node].name, owner.get(node)!, entry);
      } else {
        owner.set(node, entry);
      }
    }
  }
  if (owner.size === 0) {
    throw nothingToSparsify(supported, supportedTypes, entries.length, unsupported, skipped);
  }
  return new Map(
    [...owner].sort(([a], [b]) => a - b).map(([node, {target}]) => [graph.nodes[node].name, target]),
  );
}

function overlap(name: string, first: TargetEntry, second: TargetEntry): ScopeError {
  return new ScopeError(
    'overlap',
    `"${name}" is in two target scopes: ${first.scope.describe()} (${first.target}) and ` +
      `${second.scope.describe()} (${second.target}); a node may be in one: narrow a scope, or ignore the node`,
    {name, targets: [first.target, second.target]},
  );
}

function nothingToSparsify(
  supported: readonly string[],
  supportedTypes: ReadonlySet<string>,
  scopes: number,
  unsupported: number,
  skipped: number,
): ScopeError {
  const types = [...supportedTypes].join(', ');
  const found =
    scopes === 0
      ? 'no target scope was given'
      : `of the nodes in the target scopes ${unsupported} have another type and ${skipped} are ignored`;
  const remedy =
    supported.length === 0
      ? `the model has no node of type ${types}`
      : `name one of ${supported
          .slice(0, 3)
          .map((name) => `"${name}"`)
          .join(', ')}${supported.length > 3 ? ` or ${supported.length - 3} more` : ''}`;
  return new ScopeError(
    'nothing-to-sparsify',
    `there is nothing to sparsify: ${found}; only nodes of type ${types} can be sparsified: ${remedy}`,
    {supportedTypes: [...supportedTypes], unsupported, ignored: skipped},
  );
}
