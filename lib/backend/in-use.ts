/** @file Which backend computes at this moment, by the name that `loadBackend` takes. */
import * as tf from '@tensorflow/tfjs';
import type {BackendName} from './names.js';

/**
 * The name of TensorFlow.js's current backend, also where the program has set it without `loadBackend`.
 *
 * @returns `node-gpu` and `node` for TensorFlow.js's `tensorflow`; TensorFlow.js's own name for all others, those that are
 *     not in {@link BackendName} (`webgl`) too.
 */
export function backendInUse(): BackendName | (string & {}) {
  const registered = tf.getBackend();
  return registered === 'tensorflow' ? nodePackageOf(tf.backend()) : registered;
}

/** Which of the node packages a backend named `tensorflow` is of; tfjs-node-gpu is its own also where it finds no GPU. */
export function nodePackageOf(backend: object): 'node-gpu' | 'node' {
  return 'isGPUPackage' in backend && backend.isGPUPackage === true ? 'node-gpu' : 'node';
}
