/**
 * @file What scopes are matched against: the nodes of a model by name and type, and how data flows between
 * them. It knows nothing of TensorFlow.js; `lib/model` makes one from a model.
 */

/** A node: a layer of the model, named by its path. */
interface GraphNode {
  /** The layer's path: nested model names joined by `/`, then its own name. */
  readonly name: string;
  /** The layer's class name, for example `Dense`. */
  readonly type: string;
}

/** Nodes, and directed edges `[from, to]` as indices into them. */
export interface ModelGraph {
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly (readonly [number, number])[];
}

/**
 * The nodes on directed paths from one of `inputs` to one of `outputs`, ends included. In an acyclic graph
 * these are the nodes that an input reaches and that reach an output.
 * @param graph the graph.
 * @param inputs indices of the nodes where paths start.
 * @param outputs indices of the nodes where paths end.
 * @returns node indices; empty when no output is reachable.
 */
export function nodesBetween(
  graph: ModelGraph,
  inputs: Iterable<number>,
  outputs: Iterable<number>,
): Set<number> {
  const after = neighbours(graph, ([from, to]) => [from, to]);
  const before = neighbours(graph, ([from, to]) => [to, from]);
  const reached = reachable(inputs, after);
  const reaching = reachable(outputs, before);
  return new Set([...reached].filter((node) => reaching.has(node)));
}

function neighbours(
  {nodes, edges}: ModelGraph,
  direct: (edge: readonly [number, number]) => readonly [number, number],
): number[][] {
  const lists: number[][] = nodes.map(() => []);
  for (const edge of edges) {
    const [from, to] = direct(edge);
    lists[from].push(to);
  }
  return lists;
}

function reachable(starts: Iterable<number>, next: readonly number[][]): Set<number> {
  const seen = new Set(starts);
  // A set that grows while it is walked visits what was added: breadth first, without a queue.
  for (const node of seen) {
    for (const neighbour of next[node]) {
      seen.add(neighbour);
    }
  }
  return seen;
}
