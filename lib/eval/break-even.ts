/**
 * @file From which sparsity on a layer is faster than the dense one, and how long it takes at sparsities that were not
 * measured: arithmetic on measured times, which are noisy.
 */

/** The time of a layer at one sparsity. */
export interface TimePoint {
  /** Share of the inputs that is masked, in [0, 1]. */
  readonly sparsity: number;
  readonly ms: number;
}

/**
 * The times of a layer as a curve that never rises with sparsity: points that rise against their predecessors, which is
 * noise, are replaced by their mean (pool adjacent violators).
 *
 * @param points At least one, in ascending order of sparsity.
 */
export function fallingCurve(points: readonly TimePoint[]): TimePoint[] {
  const blocks: {sum: number; count: number}[] = [];
  for (const {ms} of points) {
    let block = {sum: ms, count: 1};
    for (let last = blocks.at(-1); last !== undefined && mean(last) < mean(block); last = blocks.at(-1)) {
      blocks.pop();
      block = {sum: last.sum + block.sum, count: last.count + block.count};
    }
    blocks.push(block);
  }
  const times = blocks.flatMap((block) => Array<number>(block.count).fill(mean(block)));
  return points.map(({sparsity}, i) => ({sparsity, ms: times[i]}));
}

/**
 * The sparsity from which on a layer is at least as fast as the dense one, linear between the points.
 *
 * @param curve As from `fallingCurve`.
 * @param denseMs Time of the dense layer.
 * @returns 0 if it is so at the first point already; null if it is so at none.
 */
export function breakEven(curve: readonly TimePoint[], denseMs: number): number | null {
  const index = curve.findIndex(({ms}) => ms <= denseMs);
  if (index === -1) return null;
  if (index === 0) return curve[0].sparsity;
  const [before, after] = [curve[index - 1], curve[index]];
  const share = (before.ms - denseMs) / (before.ms - after.ms);
  return before.sparsity + share * (after.sparsity - before.sparsity);
}

/** The time at a sparsity, linear between the points and constant beyond them. */
export function timeAt(curve: readonly TimePoint[], sparsity: number): number {
  const index = curve.findIndex((point) => point.sparsity >= sparsity);
  if (index === -1) return curve[curve.length - 1].ms;
  if (index === 0) return curve[0].ms;
  const [before, after] = [curve[index - 1], curve[index]];
  const share = (sparsity - before.sparsity) / (after.sparsity - before.sparsity);
  return before.ms + share * (after.ms - before.ms);
}

/** A layer's times and how often one prediction calls it. */
export interface LayerCurve {
  readonly calls: number;
  readonly denseMs: number;
  readonly curve: readonly TimePoint[];
}

/**
 * The time of a whole prediction if all its layers had one sparsity: that of the dense model, less what the layers
 * gain by themselves; but no less than the layers take.
 *
 * @param denseMs Time of the dense model, measured at the same time as the layers.
 */
export function predictLatency(denseMs: number, layers: readonly LayerCurve[], sparsity: number): number {
  let [dense, sparse] = [0, 0];
  for (const {calls, denseMs, curve} of layers) {
    dense += calls * denseMs;
    sparse += calls * timeAt(curve, sparsity);
  }
  return Math.max(denseMs - dense, 0) + sparse;
}

function mean({sum, count}: {sum: number; count: number}): number {
  return sum / count;
}
