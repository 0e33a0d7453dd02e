/** @file The thresholds of a model's layers, taken from it and given to it or to a model of the same layers. */
import type * as tf from '@tensorflow/tfjs';
import {cloneModel} from './clone.js';
import {makeSparsifying, maskingLayers, sparsifyingDenseLayers, type Walkable} from './dense-layers.js';

/** Of one layer. */
interface LayerThreshold {
  readonly target: number | null;
  readonly reached: number | null;
  readonly threshold: number;
}

/** By path. */
export type Thresholds = ReadonlyMap<string, LayerThreshold>;

/** The thresholds of all layers that have one, masking or not. */
export function takeThresholds(model: Walkable): Thresholds {
  return thresholdsOf(sparsifyingDenseLayers(model));
}

/** The thresholds of the layers that mask or were made to. */
export function maskingThresholds(model: Walkable): Thresholds {
  return thresholdsOf(maskingLayers(model));
}

function thresholdsOf(layers: ReturnType<typeof sparsifyingDenseLayers>): Thresholds {
  return new Map(
    [...layers].map(([path, layer]) => [
      path,
      {
        target: layer.targetSparsity,
        reached: layer.reachedSparsity,
        threshold: layer.threshold!.read().dataSync()[0],
      },
    ]),
  );
}

/** Gives layers that have thresholds other ones. @param thresholds Of these layers at least. */
export function putThresholds(model: Walkable, thresholds: Thresholds): void {
  for (const [path, layer] of sparsifyingDenseLayers(model)) {
    const given = thresholds.get(path);
    if (given === undefined) continue;
    layer.targetSparsity = given.target;
    layer.setThreshold(given.threshold, given.reached);
  }
}

/**
 * A copy of a model that masks by thresholds which were found on another with the same layers, as one whose weights have another format.
 *
 * @returns Shares the weights' memory; the caller disposes it.
 */
export function copyWithThresholds(model: tf.LayersModel, thresholds: Thresholds): tf.LayersModel {
  const copy = cloneModel(model);
  makeSparsifying(copy, new Set(thresholds.keys()));
  putThresholds(copy, thresholds);
  return copy;
}
