/** @file How many milliseconds of a prediction each layer saves on this machine, for a mean that is weighted by time. */
import * as tf from '@tensorflow/tfjs';
import type {RunOptions} from '../calibration/recording-pass.js';
import type {Batches} from '../dataset.js';
import {registerSparsifiedMatMul} from '../kernels/sparsified-matmul.js';
import {toPlainDense} from '../layers/sparsifying-dense.js';
import {cloneModel} from '../model/clone.js';
import {sparsifyingDenseLayers} from '../model/dense-layers.js';
import {dequantizeLayers} from '../model/replace-weights.js';
import {fallingCurve} from './break-even.js';
import {measureLayerTimes} from './layer-times.js';
import {firstItems} from '../calibration/model-batches.js';

/** Where layers are timed. */
const SPARSITIES = [0, 0.3, 0.5, 0.7, 0.9];

/** Of its dense time, what a layer counts at least, so that none is free. */
const LEAST_SHARE = 0.01;

/**
 * Times the Dense layers of a model on single items, as float32.
 *
 * @returns By path: milliseconds that a sparsity of 1 would save, on the line through the times at 0 and at 0.9.
 */
export async function timePerSparsity(
  model: tf.LayersModel,
  batches: Batches,
  options: Pick<RunOptions, 'onProgress' | 'signal'> = {},
): Promise<Map<string, number>> {
  registerSparsifiedMatMul();
  const inputs = await firstItems(model, batches, 1);
  const dense = cloneModel(model);
  dequantizeLayers(dense);
  for (const layer of sparsifyingDenseLayers(dense).values()) toPlainDense(layer);
  try {
    const {layers} = await measureLayerTimes([dense], inputs, {sparsities: SPARSITIES, ...options});
    return new Map(
      layers.map(({path, calls, denseMs, times}) => {
        const curve = fallingCurve(times);
        const saved = (curve[0].ms - curve[curve.length - 1].ms) / SPARSITIES[SPARSITIES.length - 1];
        return [path, calls * Math.max(saved, LEAST_SHARE * denseMs)];
      }),
    );
  } finally {
    tf.dispose(inputs);
    dense.dispose();
  }
}
