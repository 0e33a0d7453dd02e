/** @file The `tfjs-sparsify/wasm` door: kernels and decoder in WebAssembly, in browsers and Node. */
export {
  registerWasmKernels,
  type WasmKernelOptions,
  type WasmKernels,
} from './kernels/register-wasm-kernels.js';
