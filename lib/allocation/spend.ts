/**
 * @file The cheapest way to a mean sparsity: each layer's curve of loss over sparsity is cut into segments, and segments
 * are bought by rising loss per weight until the mean is reached. For convex curves that is the minimum; where a curve is
 * not convex, its convex hull stands for it.
 */

import {attainable, type Gaps} from './attainable.js';

/** A layer to spend sparsity on. */
export interface Spender {
  /** What a sparsity of 1 would count, above 0: weights, or milliseconds. */
  readonly size: number;
  /** Bounds of its sparsity, in [0, 1]. */
  readonly minimum: number;
  readonly maximum: number;
  /** Loss at a sparsity up to `maximum`. */
  loss(sparsity: number): number;
  /** Sparsities between the bounds that are not to be had: from, to, ends excluded; by rising sparsity. */
  readonly gaps?: Gaps;
}

/** Cuts of a curve between 0 and 1. */
const CUTS = 100;

/**
 * Prepares spreading mean sparsities.
 *
 * @returns The sparsity of each layer for a mean, weighted by the sizes, in [0, 1]; beyond the bounds what comes nearest. A
 *   layer that would end in a gap stays below it, and what is left goes to the others.
 */
export function spending(layers: readonly Spender[]): (sparsity: number) => number[] {
  const pieces = piecesByPrice(layers);
  return (sparsity) => {
    const shares = layers.map(({minimum}) => minimum);
    let left = layers.reduce((sum, {size, minimum}) => sum + size * (sparsity - minimum), 0);
    const closed = new Set<number>();
    for (const {layer, width, size} of pieces) {
      if (left <= 0) break;
      if (closed.has(layer)) continue;
      const before = shares[layer];
      const whole = width <= left / size;
      const wanted = before + (whole ? width : left / size);
      const had = whole ? wanted : Math.max(before, attainable(layers[layer].gaps, wanted));
      if (had < wanted) closed.add(layer);
      shares[layer] = had;
      left -= (had - before) * size;
    }
    return shares;
  };
}

interface Piece {
  readonly layer: number;
  readonly width: number;
  readonly size: number;
  readonly price: number;
}

/** The pieces of all hulls, cheapest first; those of one layer in their order, since a hull is convex. */
function piecesByPrice(layers: readonly Spender[]): Piece[] {
  const pieces = layers.flatMap((spender, layer) => {
    const hull = lowerHull(cuts(spender).map((x) => ({x, y: spender.loss(x)})));
    return hull.slice(1).map((end, i): Piece => {
      const width = end.x - hull[i].x;
      return {layer, width, size: spender.size, price: (end.y - hull[i].y) / width / spender.size};
    });
  });
  return pieces.sort((a, b) => a.price - b.price || a.layer - b.layer);
}

interface Point {
  readonly x: number;
  readonly y: number;
}

/** The corners of the largest convex curve below the points, which rise in x. */
function lowerHull(points: readonly Point[]): Point[] {
  const hull: Point[] = [];
  for (const point of points) {
    while (hull.length > 1) {
      const before = hull[hull.length - 2];
      const last = hull[hull.length - 1];
      const isBelow = (last.y - before.y) * (point.x - before.x) < (point.y - before.y) * (last.x - before.x);
      if (isBelow) break;
      hull.pop();
    }
    hull.push(point);
  }
  return hull;
}

/** The bounds and what lies between them. */
function cuts({minimum, maximum, gaps = []}: Spender): number[] {
  const inner = Array.from({length: CUTS - 1}, (_, i) => (i + 1) / CUTS);
  const all = gaps.length === 0 ? inner : [...new Set([...inner, ...gaps.flat()])].sort((a, b) => a - b);
  const most = Math.max(minimum, attainable(gaps, maximum));
  return [
    minimum,
    ...all.filter((cut) => cut > minimum && cut < most && attainable(gaps, cut) === cut),
    ...(most > minimum ? [most] : []),
  ];
}
