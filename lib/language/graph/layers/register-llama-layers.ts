/** @file Registration of the layers of Llama-family models with TensorFlow.js. */
import * as tf from '@tensorflow/tfjs';
import {registerLayers, type SerializableClass} from '../../../layers/registry.js';
import {GatedActivation} from './gated-activation.js';
import {MixtureOfExperts} from './mixture-of-experts.js';
import {RMSNorm} from './rms-norm.js';
import {RotaryAttention} from './rotary-attention.js';
import {Scale} from './scale.js';
import {TiedEmbedding} from './tied-embedding.js';

/** The layer classes of Llama-family models; `withLayers` takes them. */
const LLAMA_LAYERS: readonly SerializableClass[] = [
  RMSNorm,
  RotaryAttention,
  GatedActivation,
  MixtureOfExperts,
  TiedEmbedding,
  Scale,
].map((layer) => layer as unknown as SerializableClass);

/**
 * Makes `tf.loadLayersModel` understand language models, sparsified ones too. Call it once before loading; again
 * changes nothing.
 *
 * @example
 * registerLlamaLayers();
 * const model = await tf.loadLayersModel('file://out/model.json');
 */
export function registerLlamaLayers(): void {
  registerLayers();
  for (const layer of LLAMA_LAYERS) tf.serialization.registerClass(layer);
}
