/** @file The `MODEL` argument: the fastest backend that loads, and the model on it. */
import type * as tf from '@tensorflow/tfjs';
import {loadBackend} from '../backend/load.js';
import {loadLayersModel} from '../io/model-files.js';
import {registerLayers} from '../layers/registry.js';
import {ensureBuilt} from '../model/dense-layers.js';

/** For the help of a command that takes a model. */
export const MODEL_ARGUMENT = 'a model.json of a tf.LayersModel, the folder that holds it, or an http(s) URL';

/** Loads a backend, once for the process, and the model. */
export async function openModel(model: string): Promise<tf.LayersModel> {
  await loadBackend();
  registerLayers();
  const loaded = await loadLayersModel(model);
  ensureBuilt(loaded);
  return loaded;
}
