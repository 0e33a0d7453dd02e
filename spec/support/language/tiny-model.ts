/** @file The tiny checkpoints as models. */
import type * as tf from '@tensorflow/tfjs';
import type {LlamaConfig} from '../../../lib/language/config/llama-config.js';
import {buildModel} from '../../../lib/language/graph/build-model.js';
import {openHuggingFaceFolder} from '../../../lib/language/import/local-checkpoints.js';
import {loadWeights} from '../../../lib/language/weights/load-weights.js';
import {tinyFolder} from './tiny-checkpoints.js';

/** A model of one of the tiny checkpoints. The caller disposes it. */
export async function tinyModel(name: string): Promise<{model: tf.LayersModel; config: LlamaConfig}> {
  const checkpoint = await openHuggingFaceFolder(tinyFolder(name));
  const model = buildModel(checkpoint.config);
  await loadWeights(model, checkpoint);
  await checkpoint.close();
  return {model, config: checkpoint.config};
}
