/**
 * @file The cheapest way to a mean sparsity: each layer's curve of loss over sparsity is cut into segments, and segments
 * are bought by rising loss per weight until the mean is reached. For convex curves that is the minimum.
 */

/** A layer to spend sparsity on. */
export interface Spender {
  /** What a sparsity of 1 would count, above 0: weights, or milliseconds. */
  readonly size: number;
  /** Bounds of its sparsity, in [0, 1]. */
  readonly minimum: number;
  readonly maximum: number;
  /** Loss at a sparsity up to `maximum`; convex. */
  loss(sparsity: number): number;
}

/** Sparsities at which curves are cut. */
const STEP = 0.01;

/**
 * Spreads a mean sparsity.
 *
 * @param sparsity Mean to reach, weighted by the sizes, in [0, 1]; beyond the bounds what comes nearest is given.
 * @returns The sparsity of each layer.
 */
export function spendSparsity(layers: readonly Spender[], sparsity: number): number[] {
  const shares = layers.map(({minimum}) => minimum);
  let left = layers.reduce((sum, {size, minimum}) => sum + size * (sparsity - minimum), 0);
  for (const {layer, width, size} of segmentsByPrice(layers)) {
    if (left <= 0) break;
    const share = Math.min(width, left / size);
    shares[layer] += share;
    left -= share * size;
  }
  return shares;
}

interface Piece {
  readonly layer: number;
  readonly width: number;
  readonly size: number;
  readonly price: number;
}

/** The pieces of all curves, cheapest first; those of one layer in their order, since its curve is convex. */
function segmentsByPrice(layers: readonly Spender[]): Piece[] {
  const pieces = layers.flatMap((spender, layer) => {
    const {size, minimum, maximum} = spender;
    const ends = cuts(minimum, maximum);
    return ends.slice(1).map((end, i): Piece => {
      const width = end - ends[i];
      return {layer, width, size, price: (spender.loss(end) - spender.loss(ends[i])) / width / size};
    });
  });
  return pieces.sort((a, b) => a.price - b.price || a.layer - b.layer);
}

/** The bounds and the multiples of the step between them. */
function cuts(minimum: number, maximum: number): number[] {
  const inner = Array.from({length: Math.round(1 / STEP) - 1}, (_, i) => (i + 1) / Math.round(1 / STEP));
  return [minimum, ...inner.filter((cut) => cut > minimum && cut < maximum), maximum];
}
