/** @file What computes in the worker: WebAssembly with SIMD and the kernels for it, or JavaScript where there is none. */
import * as tf from '@tensorflow/tfjs';
import {setWasmPaths} from '@tensorflow/tfjs-backend-wasm';
import simdBinary from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm';
import {hasSimd} from '../../kernels/wasm/compile.js';
import {registerWasmKernels} from '../../kernels/register-wasm-kernels.js';
import type {PageBackend, WorkerStart} from './messages.js';

/** Chooses the backend. */
export async function startBackend({threads}: Pick<WorkerStart, 'threads'>): Promise<PageBackend> {
  if (!hasSimd()) {
    await tf.setBackend('cpu');
    return {
      name: 'cpu',
      threads: 1,
      why:
        'one thread, and all is computed in JavaScript, many times slower: this browser has no SIMD in WebAssembly; a newer ' +
        'one has',
    };
  }
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false); // the kernels bring threads that are worth it
  const url = URL.createObjectURL(new Blob([simdBinary], {type: 'application/wasm'}));
  setWasmPaths({
    'tfjs-backend-wasm.wasm': url,
    'tfjs-backend-wasm-simd.wasm': url,
    'tfjs-backend-wasm-threaded-simd.wasm': url,
  });
  await tf.setBackend('wasm');
  URL.revokeObjectURL(url);
  return {name: 'wasm', ...(await registerWasmKernels({threads}))};
}
