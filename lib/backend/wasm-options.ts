/** @file What the environment says of the kernels in WebAssembly. */
import {MOST_WASM_THREADS, type WasmKernelOptions} from '../kernels/register-wasm-kernels.js';

/** As many threads as `SPARSIFY_NUM_THREADS` says, if it says a number, and as many as there may be. */
export function wasmOptions(): WasmKernelOptions {
  const threads = Number(process.env.SPARSIFY_NUM_THREADS);
  return Number.isInteger(threads) && threads >= 1 ? {threads: Math.min(threads, MOST_WASM_THREADS)} : {};
}
