/** @file Loads the addon with this package's TensorFlow ops into a process that runs tfjs-node. */
import {createRequire} from 'node:module';
import {BackendError} from '../errors.js';
import {registerTensorflowKernels, type NativeKernels} from '../kernels/tensorflow.js';

let loaded: NativeKernels | undefined;

/**
 * Loads the addon and registers its kernels for backend `tensorflow`. A second call changes nothing. Have the addon
 * tried in a child process first (`findNative` of scripts/provision/native.mjs does): one that does not fit the
 * machine ends the process. Not for tfjs-node-gpu: the ops run on the CPU.
 *
 * @param addonPath Absolute path of `sparsify.node`.
 * @returns The addon.
 * @throws {BackendError} `native-kernels-do-not-load`, also if tfjs-node is not loaded.
 */
export function loadNativeKernels(addonPath: string): NativeKernels {
  if (loaded !== undefined) return loaded;
  try {
    const native = createRequire(import.meta.url)(addonPath) as NativeKernels;
    registerTensorflowKernels(native);
    loaded = native;
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

/** The addon, if {@link loadNativeKernels} has loaded it. */
export function nativeKernels(): NativeKernels | undefined {
  return loaded;
}
