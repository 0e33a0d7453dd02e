/** @file The decoder for a model on the backend in use: the fused one where it exists, else the layers themselves. */
import type * as tf from '@tensorflow/tfjs';
import {checkOptions} from '../../option-rules.js';
import type {LlamaConfig} from '../config/llama-config.js';
import type {Decoder} from './decoder.js';
import {createGraphDecoder} from './graph-decoder.js';
import {NATIVE_DECODER_RULES, createNativeDecoder, type NativeDecoderOptions} from './native-decoder.js';

/**
 * A decoder of the model with its present weights and thresholds.
 *
 * @param options How the fused decoder stores weights and cache; the layers compute in float32 always.
 * @returns Owned by the caller.
 */
export function createDecoder(
  model: tf.LayersModel,
  config: LlamaConfig,
  options: NativeDecoderOptions = {},
): Decoder {
  checkOptions('createDecoder', options, NATIVE_DECODER_RULES);
  return createNativeDecoder(model, config, options) ?? createGraphDecoder(model, config);
}
