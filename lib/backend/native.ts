/** @file Loads the addon with this package's TensorFlow ops into a process that runs tfjs-node or tfjs-node-gpu. */
import {createRequire} from 'node:module';
import {BackendError} from '../errors.js';
import {registerTensorflowGpuKernels, type GpuKernels} from '../kernels/tensorflow-gpu-backend.js';
import {registerTensorflowKernels, type NativeKernels} from '../kernels/tensorflow-backend.js';
import {cpuAddon} from '../provision/addons/cpu-addon.js';
import {gpuAddon} from '../provision/addons/gpu-addon.js';
import {findAddon, type FindAddonOptions, type Native} from '../provision/addons/provide-addon.js';

let loaded: NativeKernels | undefined;
let loadedGpu: GpuKernels | undefined;

/** The addon for a node package, tried in a child process; or why there is none. */
export function findKernels(name: 'node' | 'node-gpu', options: FindAddonOptions): Promise<Native> {
  return findAddon(name === 'node' ? cpuAddon : gpuAddon, options);
}

/**
 * Loads the addon and registers its kernels for backend `tensorflow`. A second call changes nothing. Have the addon
 * tried in a child process first ({@link findKernels} does): one that does not fit the machine
 * ends the process. The ops run on the CPU.
 *
 * @param addonPath Absolute path of `sparsify.node`.
 * @returns The addon.
 * @throws {BackendError} `native-kernels-do-not-load`, also if tfjs-node is not loaded.
 */
export function loadNativeKernels(addonPath: string): NativeKernels {
  return (loaded ??= load(addonPath, registerTensorflowKernels));
}

/**
 * Loads the addon with the CUDA kernels and registers them for backend `tensorflow`. A second call changes nothing. Have
 * the addon tried in a child process first ({@link findKernels} does).
 *
 * @param addonPath Absolute path of `sparsify-gpu.node`.
 * @returns The addon.
 * @throws {BackendError} `native-kernels-do-not-load`, also if tfjs-node-gpu is not loaded.
 */
export function loadGpuKernels(addonPath: string): GpuKernels {
  return (loadedGpu ??= load(addonPath, registerTensorflowGpuKernels));
}

function load<T>(addonPath: string, register: (native: T) => void): T {
  try {
    const native = createRequire(import.meta.url)(addonPath) as T;
    register(native);
    return native;
  } catch (error) {
    throw new BackendError(
      'native-kernels-do-not-load',
      `${addonPath} could not be loaded: ${(error as Error).message}; run npx tfjs-sparsify doctor`,
      {path: addonPath},
      {cause: error},
    );
  }
}

/** Under what it is remembered that a program could not load an addon which loads in a process of its own. */
export function inProgram(addonPath: string): string {
  return `${addonPath} in a program`;
}

/** The addon, if {@link loadNativeKernels} has loaded it. */
export function nativeKernels(): NativeKernels | undefined {
  return loaded;
}

/** The addon with the CUDA kernels, if {@link loadGpuKernels} has loaded it. */
export function gpuKernels(): GpuKernels | undefined {
  return loadedGpu;
}
