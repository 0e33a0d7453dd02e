/** @file Registers what this package has in WebAssembly: the kernels of backend wasm, and the decoder of the backends wasm and cpu. */
import * as tf from '@tensorflow/tfjs';
import {checkOptions, optional, type OptionRules} from '../option-rules.js';
import {registerWasmBackend} from './wasm-backend.js';
import {compileModule} from './wasm/compile.js';
import {WasmDecoding} from './wasm/decoder.js';
import {availableCores} from './wasm/in-node.js';
import {singleThreadReason} from './wasm/isolation.js';

/** Options of {@link registerWasmKernels}. */
export interface WasmKernelOptions {
  /** That compute together, 1 to 16; by default as many as there are cores, and 8 at most. */
  readonly threads?: number;
}

/** What was registered. */
export interface WasmKernels {
  /** That decode together. */
  readonly threads: number;
  /** Why so many: where it is one, what would make it more. */
  readonly why: string;
}

export const MOST_WASM_THREADS = 16;

/** Reads from memory are at their limit before. */
const MOST_DEFAULT_THREADS = 8;

const RULES: OptionRules<WasmKernelOptions> = {
  threads: optional(
    `a whole number from 1 to ${MOST_WASM_THREADS}`,
    (value) => Number.isInteger(value) && Number(value) >= 1 && Number(value) <= MOST_WASM_THREADS,
  ),
};

let registered: Promise<WasmKernels> | undefined;
let decoding: WasmDecoding | undefined;

/**
 * Registers kernels that skip rows for backend wasm, and the fused decoder of language models for the backends wasm and cpu. A
 * second call changes nothing and gives what the first one did. TensorFlow.js's backend wasm itself is imported and set by the
 * program.
 *
 * @throws {BackendError} `no-wasm-simd`: the backends go on without; {SparsifyError} `bad-option`, `unknown-option`.
 * @example
 * import '@tensorflow/tfjs-backend-wasm';
 * import {registerWasmKernels} from 'tfjs-sparsify/wasm';
 * await tf.setBackend('wasm');
 * const {threads, why} = await registerWasmKernels();
 */
export async function registerWasmKernels(options: WasmKernelOptions = {}): Promise<WasmKernels> {
  checkOptions('registerWasmKernels', options, RULES);
  registered ??= register(options);
  try {
    return await registered;
  } catch (error) {
    registered = undefined;
    throw error;
  }
}

async function register(options: WasmKernelOptions): Promise<WasmKernels> {
  const inUse = wasmThreads(options);
  const {threads} = inUse;
  const [plain, shared] = await Promise.all([
    compileModule('plain'),
    singleThreadReason() === null ? compileModule('threads') : null,
  ]);
  registerWasmBackend({plain, shared, threads});
  // One thread too has a worker of its own where there can be one: the event loop goes on meanwhile.
  decoding = new WasmDecoding(shared ?? plain, shared === null ? 0 : threads);
  return inUse;
}

/** On how many threads the kernels would run here, and why. */
export function wasmThreads({threads: wanted}: WasmKernelOptions = {}): WasmKernels {
  const single = singleThreadReason();
  if (single !== null) return {threads: 1, why: single};
  const cores = availableCores();
  const threads = wanted ?? Math.min(cores, MOST_DEFAULT_THREADS);
  const count = threads === 1 ? 'one thread' : `${threads} threads`;
  const reason =
    wanted === undefined ? `: the machine has ${cores} ${cores === 1 ? 'core' : 'cores'}` : ', as asked for';
  return {threads, why: count + reason};
}

/** The decoder in WebAssembly, if it is registered and the current backend is one whose tensors it can read. */
export function registeredWasmDecoding(): WasmDecoding | undefined {
  return ['wasm', 'cpu'].includes(tf.getBackend()) ? decoding : undefined;
}
