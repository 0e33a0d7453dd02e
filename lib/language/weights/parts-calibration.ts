/**
 * @file Calibration of a model in parts: each part reads what the part before it gave for every batch, under the
 * thresholds that this batch met, as it would within the whole model.
 */
import * as tf from '@tensorflow/tfjs';
import {calibrate, type CalibrationOptions} from '../../calibration/calibrate.js';
import type {RunOptions} from '../../calibration/recording-pass.js';
import {CalibrationStatistics, type TargetThreshold} from '../../metadata/calibration-statistics.js';
import type {Batches} from '../../dataset.js';
import {sparsifyingDenseLayers} from '../../model/dense-layers.js';
import type {AbsHistogram} from '../../stats/histogram.js';

type Mask = number[][] | boolean[][];

export class PartsCalibration {
  private readonly histograms = new Map<string, AbsHistogram>();
  private readonly thresholds = new Map<string, TargetThreshold>();
  /** What the last part gave, float32 [B, T, H] a batch; null before the first. */
  private hidden: tf.Tensor[] | null = null;
  /** As nested arrays, by batch. */
  private readonly masks: Mask[] = [];

  /**
   * @param targets Target sparsity by path, at least one.
   * @param dataset Ids, int32 [B, T]; read once.
   */
  constructor(
    private readonly targets: ReadonlyMap<string, number>,
    private readonly dataset: Batches,
    private readonly options: CalibrationOptions & RunOptions,
  ) {}

  /** Whether layers that have not been calibrated are left. */
  get isLeft(): boolean {
    return this.histograms.size < this.targets.size;
  }

  /**
   * Calibrates the next part, filled and sparsified, and keeps what it gives first if there is a part to go on to.
   *
   * @throws As `calibrate`.
   */
  async run(part: tf.LayersModel): Promise<void> {
    const layers = new Map(
      [...sparsifyingDenseLayers(part)].filter(([, {targetSparsity}]) => targetSparsity !== null),
    );
    const inputs = this.hidden;
    const outputs: tf.Tensor[] = inputs ?? [];
    this.hidden = outputs;
    const goesOn = this.histograms.size + layers.size < this.targets.size;
    const take = (value: tf.Tensor, index: number) => {
      outputs[index]?.dispose(); // of the part before, just read
      outputs[index] = value;
    };
    const statistics = await calibrate(part, layers, inputs === null ? this.dataset : batchesOf(inputs), {
      ...this.options,
      ...this.masking(inputs === null),
      ...(goesOn ? {carry: {tensor: part.outputs[0], take}} : {}),
    });
    for (const [path, histogram] of statistics.layers) this.histograms.set(path, histogram);
    for (const [path, found] of statistics.thresholds) this.thresholds.set(path, found);
  }

  /** Of all parts so far. */
  statistics(): CalibrationStatistics {
    const inOrder = [...this.targets.keys()].flatMap((path) => {
      const histogram = this.histograms.get(path);
      return histogram === undefined ? [] : [[path, histogram] as const];
    });
    return new CalibrationStatistics(new Map(inOrder), null, this.thresholds);
  }

  dispose(): void {
    for (const tensor of this.hidden ?? []) tensor.dispose();
    this.hidden = null;
  }

  /** The token masks: those of the data set's items for the first part, which the later ones, that see none, repeat. */
  private masking(first: boolean): Pick<CalibrationOptions, 'tokenMask'> {
    const {tokenMask} = this.options;
    if (tokenMask === undefined) return {};
    if (!first) return {tokenMask: (_, index) => this.masks[index]};
    return {tokenMask: (item, index) => (this.masks[index] = masked(tokenMask(item, index)))};
  }
}

/** A mask that outlives its item. */
function masked(mask: tf.Tensor | Mask): Mask {
  return mask instanceof tf.Tensor ? (mask.arraySync() as number[][]) : mask;
}

/** Tensors as a data set, each lent until the next is asked for. */
function batchesOf(tensors: readonly tf.Tensor[]): Batches {
  return {
    length: tensors.length,
    async *getInferenceData() {
      for (const tensor of tensors) yield await Promise.resolve(tensor);
    },
  };
}
