/** @file The models that are served under load: small, and with answers that follow from the question by arithmetic. */
import {renameSync, rmSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import * as tf from '@tensorflow/tfjs';
import {saveLayersModel} from '../../lib/io/model/model-files.js';

/** Inputs of model `scaled`. */
export const WIDTH = 784;
/** Outputs of model `scaled`. */
export const OUTPUTS = 3;
/** A language model with random weights; its text means nothing and is always the same. */
export const TINY = fileURLToPath(
  new URL('../../spec/fixtures/tiny/llama3-gqa-rope/model-f32.gguf', import.meta.url),
);

/**
 * Puts a version of model `scaled` in its folder, all at once: output j is version * (j + 1) * the sum of the inputs.
 *
 * @param folder Of the model; the version becomes a folder in it.
 */
export async function placeScaled(folder: string, version: number): Promise<void> {
  const model = tf.sequential({
    layers: [tf.layers.dense({units: OUTPUTS, inputShape: [WIDTH], useBias: false, name: 'sums'})],
  });
  const row = Array.from({length: OUTPUTS}, (_, j) => version * (j + 1));
  tf.tidy(() => model.setWeights([tf.tile(tf.tensor2d([row]), [WIDTH, 1])]));
  const beside = join(folder, '..', `scaled-${version}-on-its-way`);
  await saveLayersModel(model, beside);
  model.dispose();
  renameSync(beside, join(folder, String(version)));
}

/** Takes a version away. */
export function removeScaled(folder: string, version: number): void {
  rmSync(join(folder, String(version)), {recursive: true, force: true});
}

/** Inputs `a` [2] float32 and `b` [1] int32; outputs `twice` = 2a, and `looked` [1, 1] = 10b for b below 4. */
export async function saveNamedModel(folder: string): Promise<void> {
  const a = tf.input({shape: [2], name: 'a'});
  const b = tf.input({shape: [1], name: 'b', dtype: 'int32'});
  const twice = tf.layers.add({name: 'twice'}).apply([a, a]) as tf.SymbolicTensor;
  const embedding = tf.layers.embedding({inputDim: 4, outputDim: 1, name: 'looked'});
  const looked = embedding.apply(b) as tf.SymbolicTensor;
  const model = tf.model({inputs: [a, b], outputs: [twice, looked]});
  tf.tidy(() => embedding.setWeights([tf.tensor2d([[0], [10], [20], [30]])]));
  await saveLayersModel(model, folder);
  model.dispose();
}
