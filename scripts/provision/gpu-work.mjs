/**
 * @file Whether tfjs-node-gpu really computes on the GPU. That it loads says nothing (without CUDA's libraries it goes on
 * with the CPU and says so only in TensorFlow's log), and its flag only that TensorFlow has listed a GPU: a result must
 * be held in the GPU's memory.
 */
import {
  CUDA_LIBRARIES,
  DRIVER_LIBRARY,
  findLibraries,
  findNvidia,
  packagedFolders,
  usedMemoryMiB,
} from './nvidia.mjs';

const HELD_MIB = 64;
/** Other programs may free memory meanwhile. */
const ATTEMPTS = 3;

/**
 * Computes a tensor and sees whether the GPU's used memory grows by it. Only for a child process that ends soon.
 *
 * @param {typeof import('@tensorflow/tfjs')} tf With backend `tensorflow` of tfjs-node-gpu.
 * @returns {Promise<boolean>} Also true where nobody tells how much memory is used (no nvidia-smi).
 */
export async function holdsResultsOnGpu(tf) {
  const one = tf.scalar(1);
  (await tf.add(one, one).data()).at(0); // TensorFlow's own memory on the device is taken now
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const before = await usedMemoryMiB();
    const held = tf.add(tf.ones([HELD_MIB, 2 ** 18]), one); // a MiB a row, twice
    await tf.slice(held, [0, 0], [1, 1]).data();
    const after = await usedMemoryMiB();
    if (before === null || after === null || after - before >= HELD_MIB) return true;
  }
  return false;
}

/**
 * Why a tfjs-node-gpu that loads does not compute on a GPU, and what to do.
 *
 * @param {string} packageFolder
 * @returns {Promise<{reason: string, help: string}>}
 */
export async function explainNoGpu(packageFolder) {
  const nvidia = await findNvidia();
  if (nvidia.reason !== '') return nvidia;
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

/**
 * The libraries that the dynamic linker will not find.
 *
 * @param {string} packageFolder
 */
async function missingLibraries(packageFolder) {
  const names = [DRIVER_LIBRARY, ...CUDA_LIBRARIES];
  const found = await findLibraries(names, packagedFolders(packageFolder));
  return found.filter(({path}) => path === null).map(({name}) => name);
}
