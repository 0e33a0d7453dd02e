/**
 * @file How much it hurts to mask one layer alone: the part of the graph between the layer's dense inputs and its join is
 * run once more with this layer masked, and what the join gives is compared with the dense. Nothing above the layer is
 * computed again, nothing below the join at all.
 */
import type * as tf from '@tensorflow/tfjs';
import {nextTurn} from '../event-loop.js';
import type {RunOptions} from '../calibration/recording-pass.js';
import type {Batches} from '../dataset.js';
import {noRowsError} from '../calibration/activation-errors.js';
import {AbsHistogram} from '../stats/histogram.js';
import {gapsOf, thresholdFor} from './attainable.js';
import type {LayerProbe, ProbeErrors} from '../metadata/allocation.js';
import type {DenseSegment, ErrorSum} from './dense-segment.js';
import {PROBE_LEVELS} from './error-law.js';
import type {PlacedProbe, SegmentPlan} from './probe-plan.js';
import {runSegments, type SegmentVisitor} from './segment-runs.js';

export interface ProbeOptions extends RunOptions {
  /** Batches are read until they have so many rows: tokens of a language model, items of another. 128 by default. */
  readonly rows?: number;
}

/** On SmolLM2 64 lose 1 to 2 % of the gain, and 256 gain nothing more. */
const DEFAULT_ROWS = 128;

/**
 * Probes layers of a model.
 *
 * @param model Left as it is; layers that are sparsified count as dense if they are probed.
 * @param paths Of Dense layers.
 * @param dataset As for `sparsifyActivations`; read no further than needed.
 * @param options `onProgress` is told of layers.
 * @throws {DatasetError} `empty`, `nan`, `no-rows`, or for a bad item; the signal's reason.
 */
export async function probeLayers(
  model: tf.LayersModel,
  paths: ReadonlySet<string>,
  dataset: Batches,
  {rows = DEFAULT_ROWS, ...options}: ProbeOptions = {},
): Promise<ProbeErrors> {
  const prober = new Prober(paths.size, rows, options);
  await runSegments(model, paths, dataset, prober, options);
  return prober.result();
}

/** Errors of one layer over the batches so far, added up. */
interface Sums extends Omit<LayerProbe, 'error' | 'upperError' | 'inputs'> {
  error: number;
  upperError: number;
  rows: number;
  /** Of what the layer read. */
  readonly histogram: AbsHistogram;
  /** Shares that were masked, each times its rows. */
  level: number;
  upperLevel: number;
}

class Prober implements SegmentVisitor {
  private readonly sums = new Map<string, Sums>();
  private done = 0;

  constructor(
    private readonly count: number,
    private readonly wanted: number,
    private readonly options: RunOptions,
  ) {}

  async visit({probes, join}: SegmentPlan, dense: DenseSegment): Promise<void> {
    const {onProgress, signal} = this.options;
    const {level, upperLevel} = PROBE_LEVELS;
    for (const probe of probes) {
      const {path, weights} = probe;
      const sums = this.sums.get(path) ?? {path, weights, join, ...emptySums()};
      this.sums.set(path, sums);
      const values = dense.inputs.get(path);
      const histogram = new AbsHistogram(); // of this batch, for its thresholds
      if (values !== undefined) histogram.add(values);
      const error = await errorAt(level, probe, dense, histogram);
      const upper = await errorAt(upperLevel, probe, dense, histogram);
      sums.histogram.merge(histogram);
      sums.error += error.sum;
      sums.level += error.reached * error.rows;
      sums.upperError += upper.sum;
      sums.upperLevel += upper.reached * upper.rows;
      sums.rows += error.rows;
      this.done++;
      const batches = Math.ceil(this.done / this.count);
      onProgress?.({done: this.done, total: this.count * batches});
      await nextTurn(); // so that timers and signals get their turn
      signal?.throwIfAborted();
    }
  }

  isDone(): boolean {
    return this.rows >= this.wanted;
  }

  /** @throws {DatasetError} `no-rows` if no row counted. */
  result(): ProbeErrors {
    if (this.sums.size > 0 && this.rows === 0) throw noRowsError([...this.sums.keys()]);
    return {...PROBE_LEVELS, rows: this.rows, layers: [...this.sums.values()].map(probeOf)};
  }

  /** The most that a layer has: an expert that no token went to has none. */
  private get rows(): number {
    return Math.max(0, ...[...this.sums.values()].map(({rows}) => rows));
  }
}

function emptySums() {
  return {error: 0, upperError: 0, rows: 0, level: 0, upperLevel: 0, histogram: new AbsHistogram()};
}

function probeOf({path, weights, join, rows, histogram, ...sums}: Sums): LayerProbe {
  if (rows === 0) return {path, weights, join, error: 0, upperError: 0};
  const gaps = gapsOf(histogram);
  const zeros = histogram.zeroShare;
  return {
    ...{path, weights, join, error: sums.error / rows, upperError: sums.upperError / rows},
    ...(zeros > 0 || gaps.length > 0
      ? {inputs: {zeros, level: sums.level / rows, upperLevel: sums.upperLevel / rows, gaps}}
      : {}),
  };
}

/** Errors with one layer alone masked, and the share of its inputs that was; none if no data reached it. */
async function errorAt(
  share: number,
  {path, layer, below}: PlacedProbe,
  dense: DenseSegment,
  histogram: AbsHistogram,
): Promise<ErrorSum & {readonly reached: number}> {
  if (histogram.count === 0) return {sum: 0, rows: 0, reached: 0};
  const {threshold, reached} = thresholdFor(dense.inputs.get(path)!, share, histogram);
  layer.setThreshold(threshold);
  try {
    return {...(await dense.error(below)), reached};
  } finally {
    layer.setThreshold(-Infinity);
  }
}
