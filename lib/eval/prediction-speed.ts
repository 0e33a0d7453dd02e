/** @file How fast a sparse model predicts beside the dense one, on this machine. */
import * as tf from '@tensorflow/tfjs';
import type {SpeedMeasure} from '../allocation/measures.js';
import {firstItems} from '../calibration/model-batches.js';
import type {Batches} from '../dataset.js';
import {registerSparsifiedMatMul} from '../kernels/sparsified-matmul.js';
import {denseCopy} from './dense-copy.js';
import {measureLatency} from './latency.js';

/**
 * Medians of single predictions, dense and sparse in turns.
 *
 * @param model Before it is sparsified, or after; must outlive the measure.
 * @param batches The first items of its first batch are predicted.
 * @param rows Items of one prediction.
 */
export function predictionSpeed(model: tf.LayersModel, batches: Batches, rows = 1): SpeedMeasure {
  return {
    async measure(sparse) {
      registerSparsifiedMatMul();
      const inputs = await firstItems(model, batches, rows);
      const dense = denseCopy(model);
      try {
        const [denseMs, ms] = await measureLatency([dense, sparse], inputs);
        return {denseMs, ms};
      } finally {
        tf.dispose(inputs);
        dense.dispose();
      }
    },
  };
}
