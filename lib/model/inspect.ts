/** @file What a user needs to know of a model's Dense layers: sizes, targets, thresholds. */
import type * as tf from '@tensorflow/tfjs';
import {asCompressed} from '../layers/compressed-weight.js';
import {bytesOf, compressibleWeights, formatOf, sizeOf, type WeightFormat} from './compressible.js';
import {checkModel, checkUsable, denseLayers, isMasking} from './dense-layers.js';
import type {ModelLayers} from './walk.js';

/** One Dense layer of a model. */
export interface DenseReport {
  /** Names of the enclosing nested models and layers and its own, joined by `/`: what a scope matches. */
  readonly path: string;
  /** Size of the last dimension of its input. */
  readonly inputSize: number;
  readonly units: number;
  /** Share of the model's weights that its kernel holds, in [0, 1]. */
  readonly weightShare: number;
  /** How its kernel is stored. */
  readonly format: WeightFormat;
  /** Of its kernel in memory and on disk, with the scales and zero points of packed weights. */
  readonly bytes: number;
  readonly sparsified: boolean;
  /** Share of its inputs that calibration was asked to mask, in [0, 1]; null if it was not. */
  readonly target: number | null;
  /**
   * Share of its inputs in the calibration data that the threshold masks, in [0, 1]; null if it is not known. Many inputs
   * of one magnitude are masked all or not at all: then it is not near the target.
   */
  readonly reached: number | null;
  /** Inputs of at most this magnitude count as 0; -Infinity if it is not calibrated, null if not sparsified. */
  readonly threshold: number | null;
}

/**
 * Every Dense layer of a model, sparsified or not, in the order of the graph.
 *
 * @throws {ModelError} if the model is no tf.LayersModel, is disposed, or has no Dense layer.
 * @example
 * console.table(inspect(model));
 */
export function inspect(model: tf.LayersModel): DenseReport[] {
  return reportWalked(model, checkModel(model));
}

/** As `inspect`; nothing for a model without Dense layers, which can be compressed all the same. */
export function reportDense(model: tf.LayersModel): DenseReport[] {
  return reportWalked(model, checkUsable(model));
}

/** As `reportDense`, for a model that was checked and walked. */
export function reportWalked(model: tf.LayersModel, walked: ModelLayers): DenseReport[] {
  const total = countWeights(model);
  return denseLayers(walked).map(({path, layer}) => {
    const [inputSize, units] = layer.kernel!.shape as [number, number];
    const sparsified = isMasking(layer);
    return {
      path,
      inputSize,
      units,
      weightShare: (inputSize * units) / total,
      format: formatOf(layer.kernel!),
      bytes: bytesOf(layer.kernel!),
      sparsified,
      target: sparsified ? layer.targetSparsity : null,
      reached: sparsified ? layer.reachedSparsity : null,
      threshold: sparsified ? layer.threshold!.read().dataSync()[0] : null,
    };
  });
}

/** All weights of a model, a packed one counted as the float32 one that it stands for. */
export function countWeights(model: tf.LayersModel): number {
  const packed = new Set(
    compressibleWeights(model).flatMap(({variable}) =>
      asCompressed(variable) === undefined ? [] : [variable],
    ),
  );
  const differences = [...packed].map(
    (variable) =>
      sizeOf(variable) -
      asCompressed(variable)!
        .list()
        .reduce((sum, part) => sum + sizeOf(part), 0),
  );
  return differences.reduce((total, difference) => total + difference, model.countParams());
}
