/**
 * @file TEAL's greedy allocation (Liu et al. 2024, arXiv:2408.14690, algorithm 1), for comparison: within each segment of
 * the graph, steps of equal cost are given to the layer whose step makes the smallest error at the join, together with all
 * that was given before. Every segment gets the same mean, as far as the bounds of its layers allow. TEAL's block is a whole
 * decoder block; a segment ends at each join, so that attention and feed-forward part are two.
 */
import type * as tf from '@tensorflow/tfjs';
import {nextTurn} from '../event-loop.js';
import type {RunOptions} from '../calibration/recording-pass.js';
import type {Batches} from '../dataset.js';
import {AbsHistogram} from '../stats/histogram.js';
import {attainable, beyondGap, gapsOf, thresholdFor, type Gaps} from './attainable.js';
import type {DenseSegment} from './dense-segment.js';
import type {SegmentPlan} from './probe-plan.js';
import {runSegments, type SegmentVisitor} from './segment-runs.js';
import {levelShares, meanOf, type WeightedLayer, type ShareFunction} from './share-functions.js';

/** Mean sparsity that a step adds to its segment. */
const STEP = 0.05;

/** The shares of a segment's layers after each step, by rising mean. */
interface Trajectory {
  readonly layers: readonly WeightedLayer[];
  readonly points: {readonly mean: number; readonly shares: readonly number[]}[];
  /** Of each layer: shares that no threshold gives. */
  readonly gaps: readonly Gaps[];
}

/**
 * Finds the greedy path of every segment, on the first batch of the data set.
 *
 * @param options `onProgress` is told of layers whose segment is done.
 * @throws As `probeLayers`.
 */
export async function greedyShares(
  model: tf.LayersModel,
  layers: readonly WeightedLayer[],
  dataset: Batches,
  options: RunOptions = {},
): Promise<ShareFunction> {
  const climber = new Climber(layers, options);
  await runSegments(model, new Set(layers.map(({path}) => path)), dataset, climber, options);
  const {trajectories} = climber;
  return levelShares(layers, (level) => {
    const shares = new Map(
      trajectories.flatMap((trajectory) => {
        const own = sharesAt(trajectory, level);
        return trajectory.layers.map(({path}, i) => [path, own[i]] as const);
      }),
    );
    return layers.map(
      ({path, minimum, maximum}) => shares.get(path) ?? Math.min(Math.max(level, minimum), maximum),
    );
  });
}

class Climber implements SegmentVisitor {
  readonly trajectories: Trajectory[] = [];
  private readonly byPath: ReadonlyMap<string, WeightedLayer>;
  private done = 0;

  constructor(
    layers: readonly WeightedLayer[],
    private readonly options: RunOptions,
  ) {
    this.byPath = new Map(layers.map((layer) => [layer.path, layer]));
  }

  isDone(): boolean {
    return true;
  }

  async visit({probes}: SegmentPlan, dense: DenseSegment): Promise<void> {
    const reached = probes.filter(({path}) => (dense.inputs.get(path)?.length ?? 0) > 0);
    const layers = reached.map(({path}) => this.byPath.get(path)!);
    const below = new Set(reached.flatMap((probe) => [...probe.below]));
    const total = layers.reduce((sum, {size}) => sum + size, 0);
    let shares = layers.map(({minimum}) => minimum);
    const points = [{mean: meanOf(layers, shares), shares}];
    const histograms = reached.map(({path}) => {
      const histogram = new AbsHistogram();
      histogram.add(dense.inputs.get(path)!);
      return histogram;
    });
    const gaps = histograms.map(gapsOf);
    const errorAt = async (tried: readonly number[]): Promise<number> => {
      reached.forEach(({path, layer}, i) => {
        const {threshold} = thresholdFor(dense.inputs.get(path)!, tried[i], histograms[i]);
        layer.setThreshold(tried[i] === 0 ? -Infinity : threshold);
      });
      return (await dense.error(below)).sum;
    };
    try {
      for (;;) {
        const open = layers.flatMap(({maximum}, i) => (shares[i] < attainable(gaps[i], maximum) ? [i] : []));
        if (open.length === 0) break;
        let best: {shares: number[]; error: number} | null = null;
        for (const i of open) {
          const {size, maximum} = layers[i];
          const tried = [...shares];
          tried[i] = beyondGap(gaps[i], Math.min(maximum, tried[i] + (STEP * total) / size), maximum);
          const error = await errorAt(tried);
          if (best === null || error < best.error) best = {shares: tried, error};
          await nextTurn(); // so that timers and signals get their turn
          this.options.signal?.throwIfAborted();
        }
        shares = best!.shares;
        points.push({mean: meanOf(layers, shares), shares});
      }
    } finally {
      for (const {layer} of reached) layer.setThreshold(-Infinity);
    }
    if (layers.length > 0) this.trajectories.push({layers, points, gaps});
    this.done += probes.length;
    this.options.onProgress?.({done: this.done, total: this.byPath.size});
  }
}

/** The shares at a mean, on the line between the steps around it. */
function sharesAt({points, gaps}: Trajectory, mean: number): readonly number[] {
  // Stryker disable next-line EqualityOperator: at a point's own mean the step that ends there and the one that starts there agree
  const after = points.findIndex((point) => point.mean >= mean);
  if (after === -1) return points[points.length - 1].shares;
  if (after === 0) return points[0].shares;
  const [a, b] = [points[after - 1], points[after]];
  const share = (mean - a.mean) / (b.mean - a.mean);
  return a.shares.map((value, i) => attainable(gaps[i], value + share * (b.shares[i] - value)));
}
