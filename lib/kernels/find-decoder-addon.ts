/** @file The addon that decodes for the current backend: that of tfjs-node, or that of tfjs-node-gpu. */
import type * as tf from '@tensorflow/tfjs';
import type {DecoderModelHandle, NativeDecoding} from './decoder-addon.js';
import {prepareGpuDecoder, registeredGpuKernels} from './tensorflow-gpu.js';
import {prepareDecoder, registeredKernels} from './tensorflow.js';

export interface Decoding {
  readonly native: NativeDecoding;
  /** Whether it decodes mixtures of experts. */
  readonly experts: boolean;
  /**
   * Hands weights to the addon, which uses their memory in place and keeps it; see native/decoder-model.h.
   *
   * @param numbers float32, a vector: the model's sizes and flags.
   * @param weights float32.
   * @param words int32, of the INT8 matrices.
   * @throws {Error} If the weights do not fit the numbers, or the memory does not suffice.
   */
  prepare(numbers: tf.Tensor, weights: readonly tf.Tensor[], words: readonly tf.Tensor[]): DecoderModelHandle;
}

/** Undefined if the current backend has no such addon. */
export function currentDecoding(): Decoding | undefined {
  const cpu = registeredKernels();
  if (cpu !== undefined) {
    return {native: cpu, experts: true, prepare: (...tensors) => prepareDecoder(cpu, ...tensors)};
  }
  const gpu = registeredGpuKernels();
  if (gpu === undefined) return undefined;
  return {native: gpu, experts: false, prepare: (...tensors) => prepareGpuDecoder(gpu, ...tensors)};
}
