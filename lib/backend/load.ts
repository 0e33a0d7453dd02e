/**
 * @file Loads a backend of TensorFlow.js into this process: the fastest that works here, or the one that is
 * asked for. The only place of this package that imports a package by a name found at run time.
 */
import {pathToFileURL} from 'node:url';
import * as tf from '@tensorflow/tfjs';
import {BackendError} from '../errors.js';
import {CHECKED_LATER, checkOptions} from '../option-rules.js';
import {registerWasmKernels, type WasmKernels} from '../kernels/register-wasm-kernels.js';
import {setLogLevel} from '../provision/addons/log-level.js';
import type {Native} from '../provision/addons/provide-addon.js';
import {cacheFolder} from '../provision/cache.js';
import {rememberFailure} from '../provision/failures.js';
import {restoreNodeUtil} from '../provision/node-package/node-util.js';
import {checkBackend, findPackage} from './check.js';
import {CUDA_KERNELS, NATIVE_KERNELS, chooseBackend, type Faster} from './choose.js';
import {nodePackageOf} from './in-use.js';
import {findKernels, inProgram, loadGpuKernels, loadNativeKernels} from './native.js';
import {wasmOptions} from './wasm-options.js';
import {PACKAGES, parseBackendName, requestedBackend, type BackendName} from './names.js';

/** A backend that is ready to compute. */
export interface LoadedBackend {
  readonly name: BackendName;
  /**
   * TensorFlow.js with this backend set: the same instance that `import '@tensorflow/tfjs'` gives. Not enumerable: who
   * prints the result reads the reasons, not thousands of functions.
   */
  readonly tf: typeof tf;
  /** Why this one. */
  readonly why: string;
  /** A faster one that could be had, if there is. */
  readonly faster?: Faster;
  /** One line for the user, if tfjs-node-gpu is installed but does not compute on a GPU, or the addon is of no use here. */
  readonly notice?: string;
  /**
   * On `node` and `node-gpu`: the addon with the sparse kernels, or why there is none. Without it the results are the
   * same.
   */
  readonly native?: Native;
  /** On `wasm`: how many threads the fused decoder has, and why; or why there are no kernels, which is slower and right too. */
  readonly wasm?: WasmInUse;
}

/** The kernels in WebAssembly, or why there are none. */
type WasmInUse = WasmKernels | {readonly reason: string};

/** Options of {@link loadBackend}. */
export interface LoadBackendOptions {
  /** `node-gpu`, `node`, `wasm` or `cpu`. By default `SPARSIFY_BACKEND`, else the first of these that loads. */
  readonly name?: string;
}

/** The node package that this process has loaded: a second one would end it. */
let nodePackage: 'node-gpu' | 'node' | undefined;

/**
 * Loads a backend and makes it TensorFlow.js's current one.
 *
 * A node package is tried in a child process first, unless it is known to load: a library that does not fit the
 * machine does not end this process.
 *
 * @param options
 * @returns The backend, with the reasons for it.
 * @throws BackendError `unknown-backend`, `backend-does-not-load`, `no-backend`; `two-node-packages` if the
 *     process has loaded the other node package; `bad-max-target` for a SPARSIFY_MAX_TARGET that is none.
 * @example
 * const {tf, name, why} = await loadBackend();
 * console.log(`computing on ${name}: ${why}`);
 */
export async function loadBackend(options: LoadBackendOptions = {}): Promise<LoadedBackend> {
  checkOptions<LoadBackendOptions>('loadBackend', options, {name: CHECKED_LATER});
  checkMaxTarget();
  const {name} = options;
  const requested = name === undefined ? requestedBackend() : parseBackendName(name, 'name');
  const failures = new Map<BackendName, string>();
  for (;;) {
    const choice = await chooseBackend(requested, async (candidate) => {
      const check = await checkBackend(candidate);
      const reason = failures.get(candidate);
      return reason === undefined ? check : {...check, loads: false, reason};
    });
    try {
      await activate(choice.name);
      const native = await activateKernels(choice.name);
      const notice = choice.notice ?? native.notice;
      return Object.defineProperty({...choice, ...native, notice, tf}, 'tf', {enumerable: false});
    } catch (error) {
      if (error instanceof BackendError) throw error;
      failures.set(choice.name, error instanceof Error ? error.message : String(error));
    }
  }
}

/** The instruction sets of x86 that SPARSIFY_MAX_TARGET names, the worst first: those of native/max-target.cc. */
const MAX_TARGETS = ['sse2', 'sse4', 'avx2', 'avx512'];

/** The addon does not load with another value; as its reason alone, that would cost speed in silence. */
function checkMaxTarget(): void {
  const cap = process.env.SPARSIFY_MAX_TARGET;
  if (cap === undefined || cap === '' || MAX_TARGETS.includes(cap)) return;
  throw new BackendError(
    'bad-max-target',
    `SPARSIFY_MAX_TARGET is "${cap}"; it must be ${MAX_TARGETS.slice(0, -1).join(', ')} or ${MAX_TARGETS.at(-1)}, ` +
      'or unset for the best that the processor has',
    {got: cap, allowed: MAX_TARGETS},
  );
}

/** Loads the addon with the sparse kernels if it is there and known to work; on `wasm` the kernels in WebAssembly. */
async function activateKernels(
  name: BackendName,
): Promise<Pick<LoadedBackend, 'native' | 'wasm' | 'faster' | 'notice'>> {
  if (name === 'wasm') return {wasm: await activateWasm()};
  if (name === 'cpu') return {};
  const native = await findKernels(name, {packageFolder: findPackage(name)!.folder});
  if ('path' in native) return loadAddon(native.path, name === 'node' ? loadNativeKernels : loadGpuKernels);
  return {native, faster: name === 'node' ? NATIVE_KERNELS : CUDA_KERNELS};
}

async function activateWasm(): Promise<WasmInUse> {
  try {
    return await registerWasmKernels(wasmOptions());
  } catch (error) {
    return {reason: error instanceof Error ? error.message : String(error)};
  }
}

/**
 * What loads in a process of its own may not load here: another copy has registered the ops, the file is another than
 * that which was tried. Results are the same without, so that is no failure; `doctor` reads what is left here.
 */
async function loadAddon(
  path: string,
  load: (path: string) => unknown,
): Promise<Pick<LoadedBackend, 'native' | 'notice'>> {
  try {
    load(path);
    return {native: {path}};
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    await rememberFailure(cacheFolder(), inProgram(path), {reason, help: ''});
    return {native: {reason}, notice: `going on without the native sparse kernels: ${reason}`};
  }
}

/** Imports a backend's package, unless it has registered itself already, and switches to it. */
async function activate(name: BackendName): Promise<void> {
  const {registered} = PACKAGES[name];
  if (registered === 'tensorflow') {
    await importNodePackage(name === 'node-gpu' ? 'node-gpu' : 'node');
  } else if (tf.findBackendFactory(registered) === null) {
    await importPackage(name);
  }
  if (tf.findBackendFactory(registered) === null) {
    throw new BackendError(
      'two-tfjs-copies',
      `${PACKAGES[name].package} registered itself in another copy of @tensorflow/tfjs than the one in use; ` +
        'run npm dedupe, and check with npm ls @tensorflow/tfjs that one copy is left',
      {package: PACKAGES[name].package},
    );
  }
  if (!(await tf.setBackend(registered)))
    throw new Error(`TensorFlow.js could not start backend ${registered}`);
  await tf.ready();
  // The cpu backend greets on its first use with five lines about tfjs-node; `faster` says it better.
  if (registered === 'cpu') Object.assign(tf.backend(), {firstUse: false});
}

async function importNodePackage(name: 'node-gpu' | 'node'): Promise<void> {
  if (nodePackage === undefined && tf.findBackendFactory('tensorflow') !== null) {
    // The program has imported a node package itself.
    nodePackage = nodePackageOf(tf.findBackend('tensorflow'));
  }
  if (nodePackage === undefined) {
    // TensorFlow reads it when the library is loaded: no lines of information, but warnings and errors.
    process.env.TF_CPP_MIN_LOG_LEVEL ??= '1';
    const folder = findPackage(name)?.folder;
    if (folder !== undefined) await setLogLevel({packageFolder: folder});
    // Else TensorFlow takes all of the GPU's memory at once, and other programs there fail.
    if (name === 'node-gpu') process.env.TF_FORCE_GPU_ALLOW_GROWTH ??= 'true';
    restoreNodeUtil();
    await importPackage(name);
    nodePackage = name;
  }
  if (nodePackage === name) return;
  throw new BackendError(
    'two-node-packages',
    `backend ${name} cannot be loaded beside ${nodePackage} in one process: start a new process for it`,
    {requested: name, loaded: nodePackage},
  );
}

async function importPackage(name: BackendName): Promise<void> {
  const installed = findPackage(name);
  if (installed === undefined) throw new Error(`${PACKAGES[name].package} is not installed`);
  await import(pathToFileURL(installed.main).href);
}
