/** @file How an allocation is judged beyond the law: measured on models that have it. */
import type * as tf from '@tensorflow/tfjs';
import type {Progress} from '../calibration/model-batches.js';
import type {LossMetric} from '../metadata/allocation.js';

export interface MeasureOptions {
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

export interface LossOptions extends MeasureOptions {
  /** Asked while it is measured whether what is known so far will do; a measure may then stop, or go on all the same. */
  readonly isClear?: (loss: MeasuredLoss) => boolean;
}

/** A loss and how sure it is. */
export interface MeasuredLoss {
  readonly loss: number;
  /** Standard error, of the same items dense and sparse; null if unknown. */
  readonly error: number | null;
}

/** What a model loses against the dense one, on data that calibration never saw. */
export interface LossMeasure {
  readonly metric: LossMetric;
  /** @param sparse Left to the caller. */
  measure(sparse: tf.LayersModel, options?: LossOptions): Promise<MeasuredLoss>;
}

/** Milliseconds of one prediction, or one token, of the dense and a sparse model, measured in turns. */
export interface MeasuredSpeed {
  readonly denseMs: number;
  readonly ms: number;
}

/** How fast a model is on this machine. */
export interface SpeedMeasure {
  /** @param sparse Left to the caller. */
  measure(sparse: tf.LayersModel, options?: MeasureOptions): Promise<MeasuredSpeed>;
}
