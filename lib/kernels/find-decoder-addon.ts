/** @file What decodes for the current backend: the addon of tfjs-node, that of tfjs-node-gpu, or the module in WebAssembly. */
import type {DecoderModelHandle, DecoderTensors, NativeDecoding} from './decoder-addon.js';
import {registeredWasmDecoding} from './register-wasm-kernels.js';
import {prepareGpuDecoder, registeredGpuKernels} from './tensorflow-gpu-backend.js';
import {prepareDecoder, registeredKernels} from './tensorflow-backend.js';

export interface Decoding {
  readonly native: NativeDecoding;
  /** Whether it decodes mixtures of experts. */
  readonly experts: boolean;
  /**
   * Hands weights to the addon, which uses their memory in place and keeps it; see native/tensorflow/prepare-op.h.
   *
   * @param tensors The words in int32.
   * @throws {Error} If the weights do not fit the numbers, or the memory does not suffice.
   */
  prepare(...tensors: DecoderTensors): DecoderModelHandle;
}

/** Undefined if the current backend has no such addon. */
export function currentDecoding(): Decoding | undefined {
  const cpu = registeredKernels();
  if (cpu !== undefined) {
    return {native: cpu, experts: true, prepare: (...tensors) => prepareDecoder(cpu, ...tensors)};
  }
  const wasm = registeredWasmDecoding();
  if (wasm !== undefined) {
    return {native: wasm, experts: true, prepare: (...tensors) => wasm.prepare(...tensors)};
  }
  const gpu = registeredGpuKernels();
  if (gpu === undefined) return undefined;
  return {
    native: gpu,
    experts: false,
    prepare: (...tensors) => prepareGpuDecoder(gpu, ...tensors),
  };
}
