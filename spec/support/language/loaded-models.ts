/** @file Small language models of every architecture, with seeded random weights; for Node and for pages. */
import * as tf from '@tensorflow/tfjs';
import {makeSparsifying, sparsifyingDenseLayers} from '../../../lib/model/dense-layers.js';
import {walkModel} from '../../../lib/model/walk.js';
import {asContainer} from '../../../lib/tfjs.js';
import type {LlamaConfig} from '../../../lib/language/config/llama-config.js';
import {buildModel} from '../../../lib/language/graph/build-model.js';
import {loadWeights} from '../../../lib/language/weights/load-weights.js';
import {checkpointOf, randomWeights} from './random-checkpoint.js';

/** A model with seeded random weights. The caller disposes it. */
export async function randomModel(config: LlamaConfig, seed = 3): Promise<tf.LayersModel> {
  const model = buildModel(config);
  await loadWeights(model, checkpointOf(config, randomWeights(config, seed)));
  return model;
}

/** Makes every Dense layer, those of experts too, sparsifying at a threshold of its own. */
export function sparsifyEverything(model: tf.LayersModel): void {
  makeSparsifying(model, new Set(walkModel(asContainer(model)).layers.map(({path}) => path)));
  [...sparsifyingDenseLayers(model).values()].forEach((layer, i) =>
    // Some alike, some dense.
    layer.setThreshold(i % 7 === 6 ? -Infinity : 0.05 + (i % 3) * 0.07),
  );
}

/** Logits of a whole sequence without a cache, [tokens, vocabulary]. */
export function fullForward(model: tf.LayersModel, ids: readonly number[]): Float32Array {
  return tf.tidy(
    () => (model.apply(tf.tensor2d([[...ids]], undefined, 'int32')) as tf.Tensor).dataSync() as Float32Array,
  );
}
