/** @file Why TensorFlow computes on the CPU although it was built for GPUs. */
import type {Failure} from '../failures.js';
import {CUDA_LIBRARIES, DRIVER_LIBRARY, findLibraries, packagedFolders} from './cuda-libraries.js';
import {findNvidia} from './nvidia.js';

/** Why a tfjs-node-gpu that loads does not compute on a GPU, and what to do. */
export async function explainNoGpu(packageFolder: string): Promise<Failure> {
  const {reason, help} = await findNvidia();
  if (reason !== '') return {reason, help};
  const hidden = process.env.CUDA_VISIBLE_DEVICES;
  if (hidden !== undefined && !/^\s*(\d|GPU-|MIG-)/.test(hidden)) {
    return {
      reason: `CUDA_VISIBLE_DEVICES is "${hidden}", which hides the GPU`,
      help: 'unset CUDA_VISIBLE_DEVICES',
    };
  }
  const missing = await missingLibraries(packageFolder);
  if (missing.includes(DRIVER_LIBRARY)) {
    return {
      reason: `the driver's library ${DRIVER_LIBRARY} is missing`,
      help: 'install the NVIDIA driver with its CUDA part (in a container: NVIDIA_DRIVER_CAPABILITIES=compute,utility)',
    };
  }
  if (missing.length > 0) {
    return {
      reason: `CUDA libraries are missing: ${missing.join(', ')}`,
      help: 'npx tfjs-sparsify provision --gpu fetches them (or install CUDA 12 and cuDNN 9 where the linker finds them)',
    };
  }
  return {
    reason: 'TensorFlow lists no GPU that it can use, though driver and libraries are there',
    help: 'TF_CPP_MIN_LOG_LEVEL=0 npx tfjs-sparsify doctor shows what TensorFlow says; nvidia-smi, who uses the GPU',
  };
}

/** The libraries that the dynamic linker will not find. */
async function missingLibraries(packageFolder: string): Promise<string[]> {
  const names = [DRIVER_LIBRARY, ...CUDA_LIBRARIES];
  const found = await findLibraries(names, packagedFolders(packageFolder));
  return found.filter(({path}) => path === null).map(({name}) => name);
}
