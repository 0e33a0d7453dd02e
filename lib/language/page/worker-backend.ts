/** @file What computes in the worker: WebAssembly with SIMD, or JavaScript where there is none. */
import * as tf from '@tensorflow/tfjs';
import {setWasmPaths} from '@tensorflow/tfjs-backend-wasm';
import simdBinary from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm';
import type {PageBackend, WorkerStart} from './messages.js';

/** Chooses the backend. */
export async function startBackend({
  singleThread,
}: Pick<WorkerStart, 'threads' | 'singleThread'>): Promise<PageBackend> {
  const hasSimd =
    typeof WebAssembly === 'object' && (await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT')) === true;
  if (!hasSimd) {
    await tf.setBackend('cpu');
    return {
      name: 'cpu',
      threads: 1,
      why: 'this browser has no SIMD in WebAssembly, so all is computed in JavaScript, many times slower; a newer browser has it',
    };
  }
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false); // its threads never are more than one on two cores
  const url = URL.createObjectURL(new Blob([simdBinary], {type: 'application/wasm'}));
  setWasmPaths({
    'tfjs-backend-wasm.wasm': url,
    'tfjs-backend-wasm-simd.wasm': url,
    'tfjs-backend-wasm-threaded-simd.wasm': url,
  });
  await tf.setBackend('wasm');
  URL.revokeObjectURL(url);
  return {name: 'wasm', threads: 1, why: singleThread ?? 'one thread'};
}
