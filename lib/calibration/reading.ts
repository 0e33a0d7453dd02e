/** @file What the calibration methods share in reading activations. */
import * as tf from '@tensorflow/tfjs';
import {DatasetError} from '../errors.js';

/** The error for a batch that gives NaN at a layer's input. */
export function nanError(path: string, index: number): DatasetError {
  return new DatasetError(
    'nan',
    `batch ${index} gives NaN at the input of layer "${path}"; nothing was changed: remove or mend that batch, or ` +
      'see whether the model overflows on it',
    {index, path},
  );
}

/** Whether the backend can read a tensor within a forward pass. */
export function readsSynchronously(): boolean {
  return tf.getBackend() !== 'webgpu';
}
