/**
 * @file Layers by kind and depth: `model.layers.3.mlp.up_proj` is the kind `mlp.up_proj` in block 3. So 210 layers become
 * 7 rows of 30, whatever the model calls them.
 */

/** Layers of one kind in one block; several where a block has experts. */
interface Cell {
  readonly kind: string;
  readonly block: number;
  readonly paths: readonly string[];
}

export interface Arrangement {
  /** In the order of their first layer. */
  readonly kinds: readonly string[];
  /** Ascending. */
  readonly blocks: readonly number[];
  readonly cells: readonly Cell[];
}

/** So few layers are shown one by one. */
const FEW = 12;

/**
 * Arranges layers by the first number in their paths.
 *
 * @param paths In the order of the graph.
 * @returns Null if they are few, or their names show no repetition: then each stands for itself.
 */
export function arrange(paths: readonly string[]): Arrangement | null {
  if (paths.length <= FEW) return null;
  const cells = new Map<string, {kind: string; block: number; paths: string[]}>();
  for (const path of paths) {
    const {kind, block} = placeOf(path);
    if (block === null) continue; // a head, say: it is in the table of all layers
    const key = `${block} ${kind}`;
    const cell = cells.get(key) ?? {kind, block, paths: []};
    cells.set(key, cell);
    cell.paths.push(path);
  }
  const found = [...cells.values()];
  const kinds = [...new Set(found.map(({kind}) => kind))];
  const blocks = [...new Set(found.map(({block}) => block))].sort((a, b) => a - b);
  const placed = found.reduce((sum, {paths}) => sum + paths.length, 0);
  if (blocks.length < 2 || kinds.length > paths.length / 2 || placed < paths.length / 2) return null;
  return {kinds: kinds, blocks, cells: found};
}

/** A layer's kind and block: the first number in its path, and the rest; further numbers tell experts apart. */
export function placeOf(path: string): {readonly kind: string; readonly block: number | null} {
  const match = /(^|[./_])(\d{1,6})(?=[./_]|$)/.exec(path);
  if (match === null) return {kind: shortName(path), block: null};
  const after = path.slice(match.index + match[0].length);
  const rest = after === '' ? path.slice(0, match.index) : after;
  const kind = rest.replace(/(^|[./_])\d+(?=[./_]|$)/g, '').replace(/^[./_]+/, '');
  return {kind: kind === '' ? shortName(path) : kind, block: Number(match[2])};
}

/** The end of a path that is too long for an axis. */
export function shortName(path: string, length = 28): string {
  return path.length <= length ? path : `…${path.slice(1 - length)}`;
}
