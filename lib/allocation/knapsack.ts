/**
 * @file The cheapest way to a mean sparsity, as a continuous knapsack over convex hulls: the knapsack is the mean sparsity,
 * the items are the layers, and the cost of an item is its loss at a sparsity. The curve of loss over sparsity of each layer
 * is replaced by its lower convex hull, the hull is cut into straight segments, and segments are taken by rising slope (loss
 * per weight) until the mean is reached. For convex curves the result is the minimum.
 */
import {attainable, type Gaps} from './attainable.js';

/** A layer as an item of the knapsack: how much it can take, and what that costs. */
export interface KnapsackItem {
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
 * Prepares the segments, from which every mean sparsity is then filled.
 *
 * @returns The sparsity of each layer for a mean, weighted by the sizes, in [0, 1]; beyond the bounds what comes nearest. A
 *   layer that would end in a gap stays below it, and what is left goes to the others.
 */
export function knapsack(layers: readonly KnapsackItem[]): (sparsity: number) => number[] {
  const segments = segmentsBySlope(layers);
  return (sparsity) => {
    const shares = layers.map(({minimum}) => minimum);
    let left = layers.reduce((sum, {size, minimum}) => sum + size * (sparsity - minimum), 0);
    const closed = new Set<number>();
    for (const {layer, width, size} of segments) {
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

interface HullSegment {
  /** Index of the layer. */
  readonly layer: number;
  /** In sparsity. */
  readonly width: number;
  /** Of the layer. */
  readonly size: number;
  /** Loss per sparsity and size. */
  readonly slope: number;
}

/** The segments of all hulls, cheapest first; those of one layer in their order, since a hull is convex. */
function segmentsBySlope(layers: readonly KnapsackItem[]): HullSegment[] {
  const segments = layers.flatMap((item, layer) => {
    const hull = lowerHull(cuts(item).map((x) => ({x, y: item.loss(x)})));
    return hull.slice(1).map((end, i): HullSegment => {
      const width = end.x - hull[i].x;
      return {layer, width, size: item.size, slope: (end.y - hull[i].y) / width / item.size};
    });
  });
  return segments.sort((a, b) => a.slope - b.slope || a.layer - b.layer);
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
function cuts({minimum, maximum, gaps = []}: KnapsackItem): number[] {
  const inner = Array.from({length: CUTS - 1}, (_, i) => (i + 1) / CUTS);
  const all = gaps.length === 0 ? inner : [...new Set([...inner, ...gaps.flat()])].sort((a, b) => a - b);
  const most = Math.max(minimum, attainable(gaps, maximum));
  return [
    minimum,
    ...all.filter((cut) => cut > minimum && cut < most && attainable(gaps, cut) === cut),
    ...(most > minimum ? [most] : []),
  ];
}
