/**
 * @file Whether tfjs-node-gpu really computes on the GPU. That it loads says nothing (without CUDA's libraries it goes on
 * with the CPU and says so only in TensorFlow's log), and its flag only that TensorFlow has listed a GPU: a result must
 * be held in the GPU's memory.
 */
import type * as TensorFlow from '@tensorflow/tfjs';
import {usedMemoryMiB} from './nvidia.js';

const HELD_MIB = 64;
/** Other programs may free memory meanwhile. */
const ATTEMPTS = 3;

/**
 * Computes a tensor and sees whether the GPU's used memory grows by it. Only for a child process that ends soon.
 *
 * @param tf With backend `tensorflow` of tfjs-node-gpu.
 * @returns Also true where nobody tells how much memory is used (no nvidia-smi).
 */
export async function holdsResultsOnGpu(tf: typeof TensorFlow): Promise<boolean> {
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
