/**
 * @file Makes tfjs-node-gpu compute on this machine's NVIDIA GPU. The package's own installer brings libtensorflow 2.9
 * for CUDA 11.2, which today's machines do not have, and goes on with the CPU in silence; so libtensorflow comes out of
 * the TensorFlow wheel, with CUDA 12 of the system where it has all of it, else out of NVIDIA's wheels.
 */
import {existsSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {bindingFolder, buildBinding, placeBinding, requireCompiler} from './binding.mjs';
import {cacheFolder, removePartials} from './cache.mjs';
import {ProvisionError} from './error.mjs';
import {recentFailure, rememberFailure} from './failures.mjs';
import {explainNoGpu} from './gpu-work.mjs';
import {CUDA_WHEELS, TENSORFLOW_GPU_WHEEL, fetchGpuLibraries, gpuLibtensorflowFolder} from './gpu-wheels.mjs';
import {checkNodePackage, packageFolderOf} from './load-check.mjs';
import {withLock} from './lock.mjs';
import {provisionLogLevel} from './log-level.mjs';
import {provisionGpuNative} from './native-gpu.mjs';
import {CUDA_LIBRARIES, findLibraries, findNvidia} from './nvidia.mjs';
import {requirePython} from './wheel.mjs';

/** @typedef {import('./index.mjs').Provisioned} Provisioned */

const PACKAGE = '@tensorflow/tfjs-node-gpu';

/**
 * Makes tfjs-node-gpu compute on the GPU, and builds the CUDA kernels for it where there is nvcc. With
 * `TFJS_SPARSIFY_PROVISION=off` in the environment nothing is installed.
 *
 * @param {import('./index.mjs').ProvisionOptions} [options]
 * @returns {Promise<Provisioned>} Never rejects for a machine on which it cannot work.
 */
export async function provisionGpu({
  packageFolder = packageFolderOf(PACKAGE, [dirname(fileURLToPath(import.meta.url)), process.cwd()]),
  cache = cacheFolder(),
  log = () => {},
  force = false,
} = {}) {
  if (packageFolder === undefined) {
    return unavailable(
      `the package ${PACKAGE} is not installed`,
      `npm install --ignore-scripts ${PACKAGE}@4.22.0 && npx tfjs-sparsify provision --gpu`,
    );
  }
  const result = await provisionPackage(packageFolder, cache, log, force);
  if (result.state !== 'ready' && result.state !== 'provisioned') return result;
  await provisionLogLevel({packageFolder, cache, log, force});
  const native = await provisionGpuNative({packageFolder, cache, log, force});
  if ('reason' in native) log(`going on without the CUDA kernels: ${native.reason}`);
  return {...result, native};
}

/**
 * @param {string} packageFolder
 * @param {string} cache
 * @param {(line: string) => void} log
 * @param {boolean} force
 * @returns {Promise<Provisioned>}
 */
async function provisionPackage(packageFolder, cache, log, force) {
  const present = await checkNodePackage(packageFolder, {cache});
  if (present.usesGpu) return ready('ready', 'binding', present.tensorflow);
  if (process.env.TFJS_SPARSIFY_PROVISION === 'off') {
    const why = present.loads ? (await explainNoGpu(packageFolder)).reason : present.reason;
    const help = 'unset TFJS_SPARSIFY_PROVISION and run: npx tfjs-sparsify provision --gpu';
    return {...unavailable(`${why}; TFJS_SPARSIFY_PROVISION=off`, help), state: 'off'};
  }
  const nvidia = await findNvidia();
  if (nvidia.reason !== '') return unavailable(nvidia.reason, nvidia.help);
  const failure = recentFailure(cache, packageFolder);
  if (!force && failure !== undefined) return unavailable(failure.reason, failure.help);
  try {
    return await withLock(join(cache, 'provision.lock'), () => install(packageFolder, cache, log), {
      what: 'another set-up',
      log,
    });
  } catch (error) {
    const {message, help = 'check that the cache folder can be written (XDG_CACHE_HOME moves it)'} =
      /** @type {Error & {help?: string}} */ (error);
    rememberFailure(cache, packageFolder, message, help);
    return unavailable(message, help);
  }
}

/**
 * @param {string} packageFolder
 * @param {string} cache
 * @param {(line: string) => void} log
 * @returns {Promise<Provisioned>}
 */
async function install(packageFolder, cache, log) {
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
    if (hasCuda)
      log(
        systemCuda
          ? 'CUDA 12 of this system is complete and is used'
          : 'CUDA 12 out of wheels is tried instead',
      );
    const how = await place(packageFolder, cache, systemCuda, log);
    const check = await checkNodePackage(packageFolder, {cache});
    if (check.usesGpu) {
      log(`tfjs-node-gpu computes on the GPU, with TensorFlow ${check.tensorflow}`);
      return ready('provisioned', how, check.tensorflow);
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
 * @param {string} packageFolder
 * @param {string} cache
 * @param {boolean} systemCuda
 * @param {(line: string) => void} log
 * @returns {Promise<'cache' | 'wheel'>} Where they came from.
 */
async function place(packageFolder, cache, systemCuda, log) {
  const libtensorflow = gpuLibtensorflowFolder(cache, systemCuda);
  const binding = bindingFolder(cache, packageFolder, TENSORFLOW_GPU_WHEEL.version);
  const cached = existsSync(libtensorflow) && existsSync(binding);
  if (!cached) {
    const python = await requirePython();
    requireCompiler();
    if (!existsSync(libtensorflow)) {
      await fetchGpuLibraries(libtensorflow, {python, log, cuda: systemCuda ? [] : CUDA_WHEELS});
    }
    if (!existsSync(binding)) await buildBinding(binding, {packageFolder, libtensorflow, python, log});
  }
  placeBinding({packageFolder, libtensorflow, binding});
  return cached ? 'cache' : 'wheel';
}

/**
 * @param {'ready' | 'provisioned'} state
 * @param {'binding' | 'cache' | 'wheel'} how
 * @param {string | null} tensorflow
 * @returns {Provisioned}
 */
function ready(state, how, tensorflow) {
  return {state, how, tensorflow, reason: '', help: '', native: null};
}

/**
 * @param {string} reason
 * @param {string} help
 * @returns {Provisioned}
 */
function unavailable(reason, help) {
  return {state: 'unavailable', how: null, tensorflow: null, reason, help, native: null};
}
