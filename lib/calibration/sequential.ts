/**
 * @file Thresholds layer by layer: all batches go through one layer of the graph before any goes through the next, so that
 * a layer's threshold is the quantile of all that it reads, under the final masks of all layers above. One pass through
 * the model in all; it holds what flows between two layers for the whole data set.
 */
import * as tf from '@tensorflow/tfjs';
import {nextTurn} from '../event-loop.js';
import type {Batches} from '../dataset.js';
import type {SparsifyingDense} from '../layers/sparsifying-dense.js';
import {denseLayers} from '../model/dense-layers.js';
import {runSteps, stepsOf, type GraphStep} from '../model/graph-steps.js';
import {AbsHistogram} from '../stats/histogram.js';
import {floatsOf} from '../tensor-values.js';
import {onlyTensor, type Layer} from '../tfjs.js';
import {advance, inputsOf, lastUseIn, readBatches, type HeldBatch} from './graph-walk.js';
import {setQuantile} from './reached-sparsity.js';
import {RowsLeft, nanError, readsSynchronously} from './activation-errors.js';
import type {CarriedTensor, RunOptions} from './recording-pass.js';
import {CalibrationStatistics} from '../metadata/calibration-statistics.js';
import {rowsThatCount, type TokenMask} from './token-mask.js';

/** A layer to calibrate, and whether the graph calls it itself: others are within a nested model or another layer. */
interface Held {
  readonly path: string;
  readonly layer: SparsifyingDense;
  readonly isExposed: boolean;
}

/**
 * Sets the threshold of each of `layers` from the data set. A layer that is called several times is calibrated at each call,
 * on what its earlier calls read too. Layers that the graph does not expose run live: each sets its threshold from what
 * it has read so far, batch by batch, before it masks.
 *
 * @param layers By path; each holds its target.
 * @param carry As for `calibrate`.
 * @param options `onProgress` is told of layers of the graph.
 * @returns The statistics, for other targets later.
 * @throws {DatasetError} `empty`, `nan`, `no-rows`, or for a bad item; the signal's reason if it is aborted.
 */
export async function calibrateSequentially(
  model: tf.LayersModel,
  layers: ReadonlyMap<string, SparsifyingDense>,
  dataset: Batches,
  carry: CarriedTensor | null,
  options: RunOptions = {},
): Promise<CalibrationStatistics> {
  const held = heldBy(model, layers);
  const all = stepsOf(model);
  const end = all.findLastIndex(
    ({layer, outputs}) => held.has(layer) || outputs.some((t) => t === carry?.tensor),
  );
  const steps = all.slice(0, end + 1);
  const lastUse = lastUseIn(steps);
  if (carry !== null) lastUse.set(carry.tensor, Infinity);

  const statistics = new SequentialStatistics(layers, all, options);
  const batches: HeldBatch[] = [];
  try {
    await readBatches(model, dataset, options, lastUse, batches, 'calibration needs');
    for (const [i, step] of steps.entries()) {
      for (const found of held.get(step.layer) ?? []) {
        if (found.isExposed) await statistics.addRead(step, found, batches);
      }
      const inner = (held.get(step.layer) ?? []).filter(({isExposed}) => !isExposed);
      if (inner.length > 0) await statistics.addLive(step, inner, batches);
      for (const batch of batches) advance(step, i, batch, lastUse);
      options.onProgress?.({done: i + 1, total: steps.length});
      await nextTurn(); // so that timers and signals get their turn
      options.signal?.throwIfAborted();
    }
    if (carry !== null) batches.forEach(({values}, i) => carry.take(tf.clone(values.get(carry.tensor)!), i));
    return statistics.result();
  } finally {
    for (const {values} of batches) tf.dispose([...values.values()]);
  }
}

/** The layers to calibrate by the layer of the graph that is or holds them. */
function heldBy(model: tf.LayersModel, layers: ReadonlyMap<string, SparsifyingDense>): Map<Layer, Held[]> {
  const held = new Map<Layer, Held[]>();
  for (const {path, ancestor} of denseLayers(model)) {
    const layer = layers.get(path);
    if (layer === undefined) continue;
    held.set(ancestor, [...(held.get(ancestor) ?? []), {path, layer, isExposed: layer === ancestor}]);
  }
  return held;
}

/** A histogram for each stream: layers that read the same tensors share one. */
class SequentialStatistics {
  private readonly byPath = new Map<string, AbsHistogram>();
  private readonly byStream = new Map<string, AbsHistogram>();
  private readonly added = new Set<string>();
  private readonly left = new RowsLeft();

  constructor(
    private readonly layers: ReadonlyMap<string, SparsifyingDense>,
    private readonly steps: readonly GraphStep[],
    private readonly options: RunOptions,
  ) {}

  /** @throws {DatasetError} `no-rows`. */
  result(): CalibrationStatistics {
    this.left.check();
    const paths = [...this.layers.keys()];
    return new CalibrationStatistics(
      new Map(paths.map((path) => [path, this.byPath.get(path) ?? new AbsHistogram()])),
    );
  }

  /** What a layer of the graph is about to read. */
  async addRead(step: GraphStep, {path, layer}: Held, batches: readonly HeldBatch[]): Promise<void> {
    const [input] = step.inputs;
    const stream = this.steps
      .flatMap((other) => (other.layer === step.layer ? [other.inputs[0].id] : []))
      .join();
    const histogram = this.byStream.get(stream) ?? new AbsHistogram();
    this.byStream.set(stream, histogram);
    this.byPath.set(path, histogram);
    const isNew = !this.added.has(`${stream}:${input.id}`);
    this.added.add(`${stream}:${input.id}`);
    for (const [index, {values, mask}] of isNew ? batches.entries() : []) {
      const tensor = values.get(input)!;
      this.add(path, histogram, floatsOf(await tensor.data()), tensor.shape, mask, index);
    }
    setQuantile(layer, histogram);
  }

  /** What layers inside a step read, while it runs. */
  async addLive(step: GraphStep, inner: readonly Held[], batches: readonly HeldBatch[]): Promise<void> {
    const isLive = readsSynchronously();
    for (const [index, {values, mask}] of batches.entries()) {
      const later: {path: string; tensor: tf.Tensor}[] = [];
      try {
        for (const {path, layer} of inner) {
          const histogram = this.byPath.get(path) ?? new AbsHistogram();
          this.byPath.set(path, histogram);
          layer.setCallHook((inputs) => {
            const tensor = onlyTensor(inputs);
            if (isLive) {
              this.add(path, histogram, floatsOf(tensor.dataSync()), tensor.shape, mask, index);
              setQuantile(layer, histogram);
            } else later.push({path, tensor: tf.keep(tf.clone(tensor))});
          });
        }
        tf.dispose(runSteps(inputsOf(step, values), step.outputs));
        for (const {path, tensor} of later) {
          const data = floatsOf(await tensor.data());
          this.add(path, this.byPath.get(path)!, data, tensor.shape, mask, index);
        }
      } finally {
        for (const {layer} of inner) layer.clearCallHook();
        tf.dispose(later);
      }
    }
    for (const {path, layer} of inner) setQuantile(layer, this.byPath.get(path)!);
  }

  private add(
    path: string,
    histogram: AbsHistogram,
    values: Float32Array,
    shape: readonly number[],
    mask: TokenMask | undefined,
    index: number,
  ): void {
    const counted = rowsThatCount(values, shape, mask, this.options.skipLeadingTokens);
    this.left.note(path, values, counted);
    histogram.add(counted);
    if (histogram.nanCount > 0) throw nanError(path, index);
  }
}
