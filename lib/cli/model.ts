/** @file The `MODEL` argument and `--backend`: the fastest backend that loads, and the model on it. */
import type * as tf from '@tensorflow/tfjs';
import {Option} from 'commander';
import {loadBackend} from '../backend/load.js';
import {BACKENDS} from '../backend/names.js';
import {loadLayersModel} from '../io/model-files.js';
import {registerLayers} from '../layers/registry.js';

/** For the help of a command that takes a model. */
export const MODEL_ARGUMENT = 'a model.json of a tf.LayersModel, the folder that holds it, or an http(s) URL';

/** What `backendOption` gives. */
export interface BackendOptions {
  readonly backend?: string;
}

/** `--backend`, for a command that takes a model. */
export function backendOption(): Option {
  return new Option(
    '--backend <NAME>',
    'what computes; by default SPARSIFY_BACKEND, else the fastest that loads',
  ).choices(BACKENDS);
}

/** Loads a backend, once for the process, and the model. */
export async function openModel(model: string, {backend}: BackendOptions): Promise<tf.LayersModel> {
  await loadBackend({name: backend});
  registerLayers();
  return loadLayersModel(model);
}
