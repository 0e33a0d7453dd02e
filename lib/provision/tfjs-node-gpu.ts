/**
 * @file Makes tfjs-node-gpu compute on this machine's NVIDIA GPU. The package's own installer brings libtensorflow 2.9
 * for CUDA 11.2, which today's machines do not have, and goes on with the CPU in silence; so libtensorflow comes out of
 * the TensorFlow wheel, with CUDA 12 of the system where it has all of it, else out of NVIDIA's wheels.
 */
import {existsSync} from 'node:fs';
import {gpuAddon} from './addons/gpu-addon.js';
import {removePartials} from './cache.js';
import {bindingFolder, buildBinding, placeBinding, requireBuildTools} from './node-package/binding.js';
import {checkNodePackage} from './node-package/load-check.js';
import {CUDA_LIBRARIES, findLibraries} from './nvidia/cuda-libraries.js';
import {explainNoGpu} from './nvidia/explain-no-gpu.js';
import {findNvidia} from './nvidia/nvidia.js';
import {requirePython} from './processes/programs.js';
import {ProvisionError} from './provision-error.js';
import {provisionWithAddons} from './provision-with-addons.js';
import {
  forbidden,
  installOnce,
  loaded,
  unavailable,
  type ProvisionOptions,
  type Provisioned,
  type SetUp,
} from './provisioned.js';
import {
  CUDA_WHEELS,
  TENSORFLOW_GPU_WHEEL,
  fetchGpuLibraries,
  gpuLibtensorflowFolder,
} from './wheels/gpu-libraries.js';

const PACKAGE = '@tensorflow/tfjs-node-gpu';
const COMMAND = 'npx tfjs-sparsify provision --gpu';

/**
 * Makes tfjs-node-gpu compute on the GPU, and builds the CUDA kernels for it where there is nvcc. With
 * `TFJS_SPARSIFY_PROVISION=off` in the environment nothing is installed.
 *
 * @returns Never rejects for a machine on which it cannot work.
 */
export function provisionGpu(options: ProvisionOptions = {}): Promise<Provisioned> {
  return provisionWithAddons({name: PACKAGE, command: COMMAND, addon: gpuAddon, provisionPackage}, options);
}

async function provisionPackage(setUp: SetUp): Promise<Provisioned> {
  const {packageFolder, cache} = setUp;
  const present = await checkNodePackage(packageFolder, {cache});
  if (present.usesGpu) return loaded('ready', 'binding', present.tensorflow);
  if (process.env.TFJS_SPARSIFY_PROVISION === 'off') {
    const why = present.loads ? (await explainNoGpu(packageFolder)).reason : present.reason;
    return forbidden(why, COMMAND);
  }
  const nvidia = await findNvidia();
  if (nvidia.reason !== '') return unavailable(nvidia);
  return installOnce(setUp, () => install(setUp));
}

async function install({packageFolder, cache, log}: SetUp): Promise<Provisioned> {
  removePartials(cache);
  if (`${process.platform}-${process.arch}` !== 'linux-x64') {
    throw new ProvisionError(
      'no-wheel',
      `there is no TensorFlow library with CUDA for ${process.platform}-${process.arch}; there is for linux-x64`,
      'on Windows use WSL; elsewhere use the CPU: SPARSIFY_BACKEND=node',
    );
  }
  log("setting up tfjs-node-gpu (once; the result is kept in the user's cache)");
  const system = await findLibraries(CUDA_LIBRARIES);
  const hasCuda = system.every(({path}) => path !== null);
  for (const systemCuda of hasCuda ? [true, false] : [false]) {
    if (systemCuda) log('CUDA 12 of this system is complete and is used');
    else if (hasCuda) log('CUDA 12 out of wheels is tried instead');
    const how = await place(packageFolder, cache, systemCuda, log);
    const check = await checkNodePackage(packageFolder, {cache});
    if (check.usesGpu) {
      log(`tfjs-node-gpu computes on the GPU, with TensorFlow ${check.tensorflow}`);
      return loaded('provisioned', how, check.tensorflow);
    }
    if (!check.loads) {
      throw new ProvisionError(
        'does-not-load',
        `tfjs-node-gpu was built, but does not load: ${check.reason}`,
        'run npx tfjs-sparsify doctor and compare the processor and the C library with what TensorFlow needs',
      );
    }
  }
  const {reason, help} = await explainNoGpu(packageFolder);
  throw new ProvisionError('gpu-unused', `tfjs-node-gpu loads, but computes on the CPU: ${reason}`, help);
}

/**
 * Libraries and binding into the cache, unless they are there, and into the package.
 *
 * @returns Where they came from.
 */
async function place(
  packageFolder: string,
  cache: string,
  systemCuda: boolean,
  log: (line: string) => void,
): Promise<'cache' | 'wheel'> {
  const libtensorflow = gpuLibtensorflowFolder(cache, systemCuda);
  const binding = bindingFolder(cache, packageFolder, TENSORFLOW_GPU_WHEEL.version);
  const cached = existsSync(libtensorflow) && existsSync(binding);
  if (!cached) {
    const python = await requirePython();
    requireBuildTools();
    if (!existsSync(libtensorflow)) {
      await fetchGpuLibraries(libtensorflow, {python, log, cuda: systemCuda ? [] : CUDA_WHEELS});
    }
    if (!existsSync(binding)) await buildBinding(binding, {packageFolder, libtensorflow, python, log});
  }
  placeBinding({packageFolder, libtensorflow, binding});
  return cached ? 'cache' : 'wheel';
}
