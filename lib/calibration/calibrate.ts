/**
 * @file Thresholds from data. Three methods, one pass over the data set each.
 *
 * `pooled`: the quantile of |x| over everything that a layer reads, its upstream already masked. The first batch
 * runs live (each layer sets its threshold from what it just read, then masks), so that deep layers see from the
 * start what they will see later; after it, thresholds follow the pooled statistics from batch to batch.
 *
 * `nncf`: NNCF's running average. Every batch runs live: its own quantile moves the average, which then masks it.
 *
 * `sequential`: layer by layer, all batches at once (sequential.ts).
 */
import * as tf from '@tensorflow/tfjs';
import type {Batches} from '../dataset.js';
import {BackendError, SparsifyError, nearest} from '../errors.js';
import type {SparsifyingDense} from '../layers/sparsifying-dense.js';
import {AbsHistogram} from '../stats/histogram.js';
import {quantileAbs} from '../stats/quantile.js';
import {RunningThreshold} from '../stats/running-threshold.js';
import {setQuantile, setReached} from './reached-sparsity.js';
import {nanError, readsSynchronously} from './activation-errors.js';
import {ActivationRecorder, type Observation, type Stream} from './recorder.js';
import {runPass, type CarriedTensor, type Pass, type RunOptions} from './recording-pass.js';
import {calibrateSequentially} from './sequential.js';
import {CalibrationStatistics, type TargetThreshold} from '../metadata/calibration-statistics.js';
import type {TokenMaskOptions} from './token-mask.js';

export type CalibrationMethod = 'pooled' | 'nncf' | 'sequential';

export interface CalibrationOptions extends TokenMaskOptions {
  /** `pooled` by default. */
  readonly method?: CalibrationMethod;
  /** For `nncf`: the weight of a new batch in the running average, in (0, 1). 0.2 by default, as in NNCF. */
  readonly alpha?: number;
}

export const CALIBRATION_METHODS: readonly CalibrationMethod[] = ['pooled', 'nncf', 'sequential'];

/** Pooled thresholds are renewed once the statistics grew by this share: sooner would hardly move them. */
const RENEW_AFTER_GROWTH = 0.2;

/**
 * Sets the threshold of each of `layers` from the data set.
 *
 * A model can be calibrated in parts, one after the other, each on what the one before it carries out: the results are
 * those of the whole, since a layer's threshold in a batch depends only on what it read in that and earlier batches.
 *
 * @param layers The layers to calibrate, by path; each holds its target. May be none if there is something to carry.
 * @returns The statistics, for other targets later.
 * @throws {DatasetError} for a bad item, `no-rows` if none counts; {SparsifyError} `unknown-method`; the signal's reason if it is aborted.
 */
export async function calibrate(
  model: tf.LayersModel,
  layers: ReadonlyMap<string, SparsifyingDense>,
  dataset: Batches,
  options: CalibrationOptions & RunOptions & {readonly carry?: CarriedTensor} = {},
): Promise<CalibrationStatistics> {
  const {method = 'pooled', alpha, carry = null} = options;
  checkCalibrationMethod(method);
  for (const layer of layers.values()) layer.setThreshold(-Infinity);
  if (method === 'sequential') return calibrateSequentially(model, layers, dataset, carry, options);
  const pass: Calibration =
    method === 'pooled'
      ? new PooledCalibration(model, layers, carry)
      : new NncfCalibration(model, layers, carry, alpha);
  await runPass(model, dataset, pass, options);
  return pass.finish();
}

/** @throws {SparsifyError} `unknown-method`. */
export function checkCalibrationMethod(method: unknown): asserts method is CalibrationMethod {
  if (!CALIBRATION_METHODS.includes(method as CalibrationMethod)) {
    const near = nearest(String(method), CALIBRATION_METHODS)[0] ?? CALIBRATION_METHODS[0];
    throw new SparsifyError(
      'unknown-method',
      `the calibration method is "${String(method)}"; it must be ${CALIBRATION_METHODS.join(' or ')}: did you mean "${near}"?`,
      {got: method, allowed: CALIBRATION_METHODS},
    );
  }
}

/** What both methods share: a histogram a stream, whether or not the thresholds come from it. */
abstract class Calibration implements Pass {
  /** By the first path of the stream: recorders have streams of their own, over the same layers. */
  protected readonly histograms = new Map<
    string,
    {readonly stream: Stream; readonly histogram: AbsHistogram}
  >();

  constructor(
    protected readonly layers: ReadonlyMap<string, SparsifyingDense>,
    private readonly carry: CarriedTensor | null,
  ) {}

  abstract recorder(index: number): ActivationRecorder;

  take(carried: tf.Tensor, index: number): void {
    this.carry!.take(carried, index);
  }

  /** A layer is about to mask `values`, which its statistics hold already (hooked layers only). */
  protected abstract beforeMask(path: string, values: Float32Array, histogram: AbsHistogram): void;

  observe({stream, values, isNew, reader}: Observation, index: number): void {
    const [path] = stream.paths;
    const {histogram} = this.histograms.get(path) ?? {histogram: new AbsHistogram()};
    this.histograms.set(path, {stream, histogram});
    if (isNew) histogram.add(values);
    if (histogram.nanCount > 0) throw nanError(path, index);
    if (reader !== null) this.beforeMask(reader, values, histogram);
  }

  /** Histograms by path; empty for a layer that no data reached. */
  statistics(): CalibrationStatistics {
    const recorded = new Map<string, AbsHistogram>();
    for (const {stream, histogram} of this.histograms.values()) {
      for (const path of stream.paths) recorded.set(path, histogram);
    }
    const paths = [...this.layers.keys()];
    return new CalibrationStatistics(
      new Map(paths.map((path) => [path, recorded.get(path) ?? new AbsHistogram()])),
    );
  }

  /** Sets the last thresholds. */
  finish(): CalibrationStatistics {
    return this.statistics();
  }

  protected target(path: string): number {
    return this.layers.get(path)!.targetSparsity!;
  }
}

class PooledCalibration extends Calibration {
  private readonly following: ActivationRecorder;
  private readonly first: ActivationRecorder;
  private readonly countAtRenewal = new Map<string, number>();

  constructor(
    model: tf.LayersModel,
    layers: ReadonlyMap<string, SparsifyingDense>,
    carry: CarriedTensor | null,
  ) {
    super(layers, carry);
    const recorder = (live: boolean) => new ActivationRecorder(model, layers, live, carry?.tensor);
    this.following = recorder(false);
    this.first = readsSynchronously() ? recorder(true) : this.following;
  }

  recorder(index: number): ActivationRecorder {
    return index === 0 ? this.first : this.following;
  }

  protected beforeMask(path: string, _values: Float32Array, histogram: AbsHistogram): void {
    this.renew(path, histogram, 0);
  }

  afterBatch(): void {
    this.renewAll(RENEW_AFTER_GROWTH);
  }

  override finish(): CalibrationStatistics {
    this.renewAll(0);
    return this.statistics();
  }

  private renewAll(growth: number): void {
    for (const {stream, histogram} of this.histograms.values()) {
      for (const path of stream.paths) this.renew(path, histogram, growth);
    }
  }

  /** Sets the threshold from the statistics if they grew by more than a share since it was last set. */
  private renew(path: string, histogram: AbsHistogram, growth: number): void {
    const before = this.countAtRenewal.get(path) ?? 0;
    if (histogram.count <= before * (1 + growth)) return;
    this.countAtRenewal.set(path, histogram.count);
    setQuantile(this.layers.get(path)!, histogram);
  }
}

class NncfCalibration extends Calibration {
  private readonly live: ActivationRecorder;
  private readonly running: ReadonlyMap<string, RunningThreshold>;
  /** The last quantile: layers that share an input mostly share a target too. */
  private last: {readonly values: Float32Array; readonly target: number; readonly quantile: number} | null =
    null;

  constructor(
    model: tf.LayersModel,
    layers: ReadonlyMap<string, SparsifyingDense>,
    carry: CarriedTensor | null,
    alpha?: number,
  ) {
    super(layers, carry);
    if (!readsSynchronously()) {
      throw new BackendError(
        'asynchronous-backend',
        `calibration "nncf" sets thresholds within the forward pass, which the ${tf.getBackend()} backend cannot ` +
          'read; use calibration "pooled", or calibrate on another backend',
      );
    }
    this.live = new ActivationRecorder(model, layers, true, carry?.tensor);
    this.running = new Map([...layers.keys()].map((path) => [path, new RunningThreshold({alpha})]));
  }

  recorder(): ActivationRecorder {
    return this.live;
  }

  /** The thresholds are no quantiles of the statistics: these keep them for their targets. */
  override finish(): CalibrationStatistics {
    const {layers} = this.statistics();
    const thresholds = new Map<string, TargetThreshold>();
    for (const [path, histogram] of layers) {
      const threshold = this.running.get(path)!.value;
      if (histogram.count === 0) continue;
      setReached(this.layers.get(path)!, histogram, threshold);
      thresholds.set(path, {target: this.target(path), threshold});
    }
    return new CalibrationStatistics(layers, null, thresholds);
  }

  protected beforeMask(path: string, values: Float32Array): void {
    if (values.length === 0) return;
    const running = this.running.get(path)!;
    running.update(this.quantile(values, this.target(path)));
    this.layers.get(path)!.setThreshold(running.value);
  }

  private quantile(values: Float32Array, target: number): number {
    if (this.last?.values !== values || this.last.target !== target) {
      this.last = {values, target, quantile: quantileAbs(values, target)};
    }
    return this.last.quantile;
  }
}
