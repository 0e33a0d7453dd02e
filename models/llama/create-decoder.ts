/** @file The decoder for a model on the backend in use. */
import type * as tf from '@tensorflow/tfjs';
import type {LlamaConfig} from './config.js';
import type {Decoder} from './decoder.js';
import {createGraphDecoder} from './graph-decoder.js';

/**
 * A decoder of the model with its present weights and thresholds.
 *
 * @returns Owned by the caller.
 */
export function createDecoder(model: tf.LayersModel, config: LlamaConfig): Decoder {
  return createGraphDecoder(model, config);
}
