/** @file What this machine can run, which backend is used and why, and what would be faster. */
import {BackendError} from '../errors.js';
import {cacheFolder} from '../provision/cache.js';
import {wasmThreads, type WasmKernels} from '../kernels/register-wasm-kernels.js';
import {recentFailure} from '../provision/failures.js';
import {checkBackend, findPackage, type BackendCheck} from './check.js';
import {CUDA_KERNELS, NATIVE_KERNELS, chooseBackend, type Choice, type Faster} from './choose.js';
import {diagnoseGpu, type GpuDiagnosis} from './gpu.js';
import {BACKENDS, requestedBackend, type BackendName} from './names.js';
import {findKernels, inProgram} from './native.js';
import {wasmOptions} from './wasm-options.js';
import {describeProcessor, type Processor} from './processor.js';

/** The findings, in the shape that `doctor --json` prints; fields are only ever added. */
export interface Diagnosis {
  readonly node: {
    readonly version: string;
    readonly platform: string;
    readonly arch: string;
    /** Highest N-API version that addons may ask for. */
    readonly napi: number;
  };
  readonly processor: Processor;
  /** Every backend in the order in which they are tried. */
  readonly backends: readonly BackendCheck[];
  /** The backend that `loadBackend` takes; null if it would throw. */
  readonly used: {readonly name: BackendName; readonly why: string} | null;
  /** Why `loadBackend` would throw; null if it would not. */
  readonly problem: string | null;
  /** TensorFlow's version behind the used backend; null if there is none behind it. */
  readonly tensorflow: string | null;
  /** The native sparse kernels for tfjs-node or tfjs-node-gpu; null if another backend is used. */
  readonly native: {
    readonly loads: boolean;
    /** Why they do not load, here or in a program of the last hour; empty if nothing is known against them. */
    readonly reason: string;
  } | null;
  /** The kernels in WebAssembly: on how many threads the decoder runs, and why; null if another backend is used. */
  readonly wasm: WasmKernels | null;
  readonly faster: Faster | null;
  /** NVIDIA's side; null if there is neither a GPU nor tfjs-node-gpu. */
  readonly gpu: GpuDiagnosis | null;
  /** Folder of what provisioning keeps. */
  readonly cache: string;
}

/**
 * Examines this machine. Every backend is loaded in a child process of its own, none in this one.
 *
 * @throws BackendError `unknown-backend` if `SPARSIFY_BACKEND` names none.
 */
export async function doctor(): Promise<Diagnosis> {
  const requested = requestedBackend();
  const backends: BackendCheck[] = [];
  for (const name of BACKENDS) backends.push(await checkBackend(name, {fresh: true}));

  const about = {
    node: {
      version: process.versions.node,
      platform: process.platform,
      arch: process.arch,
      napi: Number(process.versions.napi),
    },
    processor: describeProcessor(),
    backends,
    gpu: await diagnoseGpu(backends[BACKENDS.indexOf('node-gpu')]),
    cache: cacheFolder(),
  };
  const known = (candidate: BackendName) => Promise.resolve(backends[BACKENDS.indexOf(candidate)]);
  try {
    const {name, why, faster} = await chooseBackend(requested, known);
    const {tensorflow} = backends[BACKENDS.indexOf(name)];
    const native = await checkNative(name);
    const wasm = name === 'wasm' ? wasmThreads(wasmOptions()) : null;
    const unasked =
      requested === undefined ? undefined : fasterUnasked(name, await chooseBackend(undefined, known));
    const better = faster ?? unasked ?? (native?.loads === false ? kernelsOf(name) : null);
    return {...about, used: {name, why}, problem: null, tensorflow, native, wasm, faster: better};
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    const none = {used: null, tensorflow: null, native: null, wasm: null, faster: null};
    return {...about, ...none, problem: error.message};
  }
}

/** What would be faster than the backend that `SPARSIFY_BACKEND` asks for, beside what is taken without it. */
function fasterUnasked(requested: BackendName, unasked: Choice): Faster | undefined {
  if (BACKENDS.indexOf(unasked.name) >= BACKENDS.indexOf(requested)) return unasked.faster;
  return {
    what: `${unasked.name}, which loads here, but SPARSIFY_BACKEND asks for ${requested}`,
    command: 'unset SPARSIFY_BACKEND',
  };
}

function kernelsOf(name: BackendName): Faster {
  return name === 'node-gpu' ? CUDA_KERNELS : NATIVE_KERNELS;
}

async function checkNative(name: BackendName): Promise<Diagnosis['native']> {
  if (name !== 'node' && name !== 'node-gpu') return null;
  const {folder} = findPackage(name)!;
  const native = await findKernels(name, {packageFolder: folder, fresh: true});
  if ('reason' in native) return {loads: false, reason: native.reason};
  return {loads: true, reason: recentFailure(cacheFolder(), inProgram(native.path))?.reason ?? ''};
}
