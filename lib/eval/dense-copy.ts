/** @file A model as it was before it was sparsified, to hold a sparse one against. */
import type * as tf from '@tensorflow/tfjs';
import {toPlainDense} from '../layers/sparsifying-dense.js';
import {cloneModel} from '../model/clone.js';
import {sparsifyingDenseLayers} from '../model/dense-layers.js';

/**
 * A copy of a model that masks nothing. Layers with packed kernels keep them, and their form.
 *
 * @returns Shares the weights' memory; the caller disposes it.
 */
export function denseCopy(model: tf.LayersModel): tf.LayersModel {
  const copy = cloneModel(model);
  for (const layer of sparsifyingDenseLayers(copy).values()) {
    if (layer.compression === null) toPlainDense(layer);
    else layer.setThreshold(-Infinity);
  }
  return copy;
}
