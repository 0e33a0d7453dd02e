/** @file TensorFlow.js on WebAssembly, with this page's own copies of its binaries, so that no other host is asked. */
import * as tf from '@tensorflow/tfjs';
import {setWasmPaths} from '@tensorflow/tfjs-backend-wasm';
import plain from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url';
import simd from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url';
import threaded from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm?url';
import {registerWasmKernels} from 'tfjs-sparsify/wasm';
import {failureInWords} from './words.js';

/** Starts the backend, and tells in a sentence what computes. */
export async function startBackend(): Promise<string> {
  setWasmPaths({
    'tfjs-backend-wasm.wasm': plain,
    'tfjs-backend-wasm-simd.wasm': simd,
    'tfjs-backend-wasm-threaded-simd.wasm': threaded,
  });
  if (await tf.setBackend('wasm')) {
    try {
      const {why} = await registerWasmKernels();
      return `TensorFlow.js on WebAssembly, with kernels that skip rows: ${why}.`;
    } catch (error) {
      return `TensorFlow.js on WebAssembly, without kernels that skip rows: ${failureInWords(error)}`;
    }
  }
  await tf.setBackend('cpu');
  return 'TensorFlow.js in plain JavaScript, since this browser does not run its WebAssembly: slow.';
}
