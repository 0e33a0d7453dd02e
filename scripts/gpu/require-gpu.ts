/** @file What the tasks for GPUs need, and what is missing of it. */
import {checkBackend, findPackage} from '../../lib/backend/check.js';
import {findKernels} from '../../lib/backend/native.js';
import {findNvcc} from '../../lib/provision/addons/gpu-addon.js';
import {explainNoGpu} from '../../lib/provision/nvidia/explain-no-gpu.js';
import {findNvidia} from '../../lib/provision/nvidia/nvidia.js';

/** A GPU on which tfjs-node-gpu works with the CUDA kernels. */
export interface UsableGpu {
  readonly name: string;
  /** As `9.0`. */
  readonly computeCapability: string;
  /** nvcc, to build the test and the benchmark of the kernels alone. */
  readonly nvcc: string;
}

/**
 * Finds the GPU, or says on stderr what is missing, all of it, with the commands that help.
 *
 * @returns Undefined if anything is missing.
 */
export async function requireGpu(): Promise<UsableGpu | undefined> {
  const missing: string[] = [];
  const nvidia = await findNvidia();
  if (nvidia.reason !== '') missing.push(`${nvidia.reason}: ${nvidia.help}`);
  const nvcc = findNvcc();
  if (nvcc === undefined) missing.push("nvcc: install NVIDIA's CUDA toolkit, 12 or newer");
  const folder = findPackage('node-gpu')?.folder;
  if (folder === undefined) {
    missing.push('@tensorflow/tfjs-node-gpu: npm run test:gpu installs it where a GPU is found');
  } else if (nvidia.reason === '') {
    const check = await checkBackend('node-gpu', {fresh: true});
    if (!check.loads) missing.push(`${check.reason}: npx tfjs-sparsify provision --gpu`);
    else if (check.reason !== '') {
      const {reason, help} = await explainNoGpu(folder);
      missing.push(`${reason}: ${help}`);
    } else {
      const native = await findKernels('node-gpu', {packageFolder: folder});
      if ('reason' in native) missing.push(native.reason);
    }
  }
  if (missing.length === 0 && nvcc !== undefined) {
    const [device] = nvidia.devices;
    if (device !== undefined) return {...device, nvcc};
    missing.push('nvidia-smi, which names the GPU and its compute capability');
  }
  console.error('this needs an NVIDIA GPU; nothing was run. What is missing:');
  for (const line of missing) console.error(`  ${line}`);
  return undefined;
}
