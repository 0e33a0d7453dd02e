/** @file The backend of TensorFlow.js in a page, where the wasm backend's binaries come from the site's `node_modules`. */
import * as tf from '@tensorflow/tfjs';
import {setWasmPaths} from '@tensorflow/tfjs-backend-wasm';

/** Node finds the binaries beside the package's module; a bundle has no such place. */
const isNode = typeof process === 'object' && process.versions?.node !== undefined;

/** Makes a backend the current one, in a page, in a worker and in Node. */
export async function useBackend(name: 'cpu' | 'wasm'): Promise<void> {
  // In Firefox the threads of TensorFlow.js's own backend sometimes never start, and it waits for ever.
  if (!isNode && navigator.userAgent.includes('Firefox')) tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
  if (!isNode) setWasmPaths('/node_modules/@tensorflow/tfjs-backend-wasm/dist/');
  if (!(await tf.setBackend(name))) throw new Error(`backend ${name} cannot be used here`);
  await tf.ready();
}
