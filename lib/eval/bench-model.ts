/** @file What sparsity does to the speed of one model on this machine: its layers one by one, and as a whole. */
import * as tf from '@tensorflow/tfjs';
import type {Progress} from '../calibration/model-batches.js';
import {toBatches, type Batches, type DataSource} from '../dataset.js';
import {SPARSIFIED_MATMUL} from '../kernels/sparsified-matmul-kernel.js';
import {registerSparsifiedMatMul} from '../kernels/sparsified-matmul.js';
import {toPlainDense} from '../layers/sparsifying-dense.js';
import {cloneModel} from '../model/clone.js';
import {sparsifyingDenseLayers} from '../model/dense-layers.js';
import {dequantizeLayers} from '../model/replace-weights.js';
import {sparsifyActivations} from '../sparsify.js';
import {fallingCurve, predictLatency} from './break-even.js';
import {measureLayerTimes, type LayerTimes} from './layer-times.js';

/** The latency of the whole model at one sparsity. */
interface ModelLatency {
  /** Share of the inputs of every Dense layer that is masked, in [0, 1]. */
  readonly sparsity: number;
  readonly ms: number;
  /** Latency of the dense model over this. */
  readonly speedup: number;
}

export interface ModelBench {
  /** Whether the backend has a kernel that skips rows; without one no sparsity makes a layer faster. */
  readonly skipsRows: boolean;
  readonly layers: readonly LayerTimes[];
  /** Median milliseconds of one prediction of the model with stock Dense layers. */
  readonly denseMs: number;
  /** From the times of the layers. */
  readonly predicted: readonly ModelLatency[];
  /** Of a model sparsified for it, thresholds calibrated on `calibration`. */
  readonly measured: readonly ModelLatency[];
}

export interface ModelBenchOptions {
  /** Ascending, in [0, 1]; 0, 0.3, 0.5, 0.7 and 0.9 by default. */
  readonly sparsities?: readonly number[];
  /** Where a whole model is made and measured; 0.5 by default. */
  readonly measureAt?: readonly number[];
  /** About how long all is timed. 2 by default. */
  readonly seconds?: number;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/**
 * Times a model and its Dense layers on the current backend.
 *
 * @param model Left as it is; if it is sparsified or compressed, its layers count as dense and float32.
 * @param inputs Of one prediction, in the order of the model's inputs; left to the caller.
 * @param calibration Data that thresholds are found on, as for `sparsifyActivations`.
 * @throws {ModelError} if the model cannot be sparsified; {DatasetError}; the signal's reason if it is aborted.
 */
export async function benchModel(
  model: tf.LayersModel,
  inputs: tf.Tensor[],
  calibration: Batches | DataSource<unknown>,
  options: ModelBenchOptions = {},
): Promise<ModelBench> {
  const {sparsities = [0, 0.3, 0.5, 0.7, 0.9], measureAt = [0.5], seconds, onProgress, signal} = options;
  registerSparsifiedMatMul();
  const models: tf.LayersModel[] = [];
  try {
    const dense = cloneModel(model);
    models.push(dense);
    dequantizeLayers(dense);
    for (const layer of sparsifyingDenseLayers(dense).values()) toPlainDense(layer);
    const batches = toBatches(calibration);
    for (const sparsity of measureAt) {
      models.push(
        await sparsifyActivations(dense, batches, {targetSparsityByScope: {'.*': sparsity}, signal}),
      );
    }
    const times = await measureLayerTimes(models, inputs, {sparsities, seconds, onProgress, signal});
    const {layers} = times;
    const [denseMs, ...sparseMs] = times.models;
    const curves = layers.map((layer) => ({...layer, curve: fallingCurve(layer.times)}));
    const latency = (sparsity: number, ms: number) => ({sparsity, ms, speedup: denseMs / ms});
    return {
      skipsRows: tf.getKernel(SPARSIFIED_MATMUL, tf.getBackend()) !== undefined,
      layers,
      denseMs,
      predicted: sparsities.map((s) => latency(s, predictLatency(denseMs, curves, s))),
      measured: measureAt.map((s, i) => latency(s, sparseMs[i])),
    };
  } finally {
    models.reverse().forEach((made) => made.dispose());
  }
}
