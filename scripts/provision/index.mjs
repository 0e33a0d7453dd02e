/**
 * @file Makes tfjs-node usable where its own installation fails: the ways are tried in order, the first that
 * ends with a package that loads is taken, and none failing means that a slower backend is used. Nothing here
 * needs an installed dependency except node-gyp, for the build.
 */
import {existsSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {bindingFolder, buildBinding, placeBinding, requireCompiler} from './binding.mjs';
import {cacheFolder, removePartials} from './cache.mjs';
import {ProvisionError} from './error.mjs';
import {recentFailure, rememberFailure} from './failures.mjs';
import {fetchLibtensorflow, libtensorflowFolder, wheelForThisMachine} from './libtensorflow.mjs';
import {checkNodePackage, packageFolderOf} from './load-check.mjs';
import {withLock} from './lock.mjs';
import {provisionLogLevel} from './log-level.mjs';
import {findNative, nativeAddonPath, provisionNative} from './native.mjs';
import {hasOfficialInstaller, runOfficialInstaller} from './official-installer.mjs';
import {requirePython} from './wheel.mjs';

export {cacheFolder} from './cache.mjs';
export {recentFailure, rememberFailure} from './failures.mjs';
export {provisionGpu} from './gpu.mjs';
export {explainNoGpu} from './gpu-work.mjs';
export {checkLoad, checkNodePackage, packageFolderOf} from './load-check.mjs';
export {setLogLevel} from './log-level.mjs';
export {findNative} from './native.mjs';
export {findGpuNative, findNvcc} from './native-gpu.mjs';
export {CUDA_LIBRARIES, DRIVER_LIBRARY, findLibraries, findNvidia, packagedFolders} from './nvidia.mjs';
export {restoreNodeUtil} from './node-util.mjs';
export {withLock} from './lock.mjs';
export {fetchSmollm2, findSmollm2, SMOLLM2} from './smollm2.mjs';

/**
 * @typedef {object} Provisioned
 * @property {'ready' | 'provisioned' | 'unavailable' | 'off'} state Ready: it loaded already.
 * @property {'binding' | 'cache' | 'installer' | 'wheel' | null} how What made it load.
 * @property {string | null} tensorflow TensorFlow's version.
 * @property {string} reason Why tfjs-node is unavailable; empty if it is not.
 * @property {string} help What would make it available; empty if it is.
 * @property {import('./native.mjs').Native | null} native The addon with the sparse kernels, or why there is none; null
 *     without tfjs-node.
 */

/**
 * @typedef {object} ProvisionOptions
 * @property {string} [packageFolder] Folder of the installed tfjs-node; found by default.
 * @property {string} [cache] The per-user cache.
 * @property {(line: string) => void} [log] Is told each step.
 * @property {boolean} [force] Try again even if it failed less than an hour ago.
 */

/**
 * Makes tfjs-node loadable, and builds the addons for it: that with the sparse kernels, and that with which TensorFlow
 * starts without lines of information. With `TFJS_SPARSIFY_PROVISION=off` in the environment nothing is installed.
 *
 * @param {ProvisionOptions} [options]
 * @returns {Promise<Provisioned>} Never rejects for a machine on which it cannot work.
 */
export async function provision({
  packageFolder = packageFolderOf('@tensorflow/tfjs-node', [
    dirname(fileURLToPath(import.meta.url)),
    process.cwd(),
  ]),
  cache = cacheFolder(),
  log = () => {},
  force = false,
} = {}) {
  if (packageFolder === undefined) {
    return unavailable(
      'the package @tensorflow/tfjs-node is not installed',
      'npm install --ignore-scripts @tensorflow/tfjs-node@4.22.0 && npx tfjs-sparsify provision',
    );
  }
  const result = await provisionPackage(packageFolder, cache, log, force);
  if (result.state !== 'ready' && result.state !== 'provisioned') return result;
  await provisionLogLevel({packageFolder, cache, log, force});
  return {...result, native: await provisionKernels(packageFolder, cache, log, force)};
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
  if (present.loads) return loaded('ready', 'binding', present.tensorflow);
  if (process.env.TFJS_SPARSIFY_PROVISION === 'off') {
    const help = 'unset TFJS_SPARSIFY_PROVISION and run: npx tfjs-sparsify provision';
    return {...unavailable(`${present.reason}; TFJS_SPARSIFY_PROVISION=off`, help), state: 'off'};
  }
  const failure = recentFailure(cache, packageFolder);
  if (!force && failure !== undefined) return unavailable(failure.reason, failure.help);
  try {
    return await withLock(join(cache, 'provision.lock'), () => install(packageFolder, cache, log), {
      what: 'another set-up',
      log,
    });
  } catch (error) {
    const {reason, help} = explain(error);
    rememberFailure(cache, packageFolder, reason, help);
    return unavailable(reason, help);
  }
}

/**
 * The addon for a tfjs-node that loads: built unless it is there, or that is forbidden or failed just now.
 *
 * @param {string} packageFolder
 * @param {string} cache
 * @param {(line: string) => void} log
 * @param {boolean} force
 * @returns {Promise<import('./native.mjs').Native>}
 */
async function provisionKernels(packageFolder, cache, log, force) {
  const options = {tfjsNodeDir: packageFolder, cacheDir: cache, log};
  if (process.env.TFJS_SPARSIFY_PROVISION === 'off') return findNative(options);
  const addon = nativeAddonPath(cache);
  const failure = recentFailure(cache, addon);
  if (!force && failure !== undefined) return {reason: failure.reason};
  const native = await provisionNative({...options, force});
  if ('reason' in native && process.env.SPARSIFY_NATIVE !== 'off') {
    rememberFailure(cache, addon, native.reason, '');
    log(`going on without the native sparse kernels: ${native.reason}`);
  }
  return native;
}

/**
 * @param {string} packageFolder
 * @param {string} cache
 * @param {(line: string) => void} log
 * @returns {Promise<Provisioned>}
 */
async function install(packageFolder, cache, log) {
  removePartials(cache);
  const meanwhile = await checkNodePackage(packageFolder, {cache});
  if (meanwhile.loads) return loaded('ready', 'binding', meanwhile.tensorflow);
  log("setting up tfjs-node, TensorFlow.js's native backend (once; the result is kept in the user's cache)");

  const cached = await placeFromCache(packageFolder, cache, log);
  if (cached !== undefined) return cached;

  if (hasOfficialInstaller(packageFolder)) {
    try {
      await runOfficialInstaller(packageFolder, log);
      const check = await checkNodePackage(packageFolder, {cache});
      if (check.loads) return loaded('provisioned', 'installer', check.tensorflow);
      log(`its own installer ended, but the result does not load: ${check.reason}`);
    } catch (error) {
      if (!(error instanceof ProvisionError)) throw error;
      log(`its own installer cannot be used: ${error.message}`);
    }
  }
  return installFromWheel(packageFolder, cache, log);
}

/**
 * @param {string} packageFolder
 * @param {string} cache
 * @param {(line: string) => void} log
 * @returns {Promise<Provisioned | undefined>} Undefined when the cache lacks a part, or its parts do not load.
 */
async function placeFromCache(packageFolder, cache, log) {
  try {
    const wheel = wheelForThisMachine();
    const libtensorflow = libtensorflowFolder(cache, wheel);
    const binding = bindingFolder(cache, packageFolder, wheel.version);
    if (!existsSync(libtensorflow) || !existsSync(binding)) return undefined;
    placeBinding({packageFolder, libtensorflow, binding});
    const check = await checkNodePackage(packageFolder, {cache});
    if (!check.loads) return undefined;
    log(`tfjs-node is ready, with TensorFlow ${check.tensorflow} from the cache`);
    return loaded('provisioned', 'cache', check.tensorflow);
  } catch (error) {
    if (error instanceof ProvisionError && error.code === 'no-wheel') return undefined;
    throw error;
  }
}

/**
 * @param {string} packageFolder
 * @param {string} cache
 * @param {(line: string) => void} log
 * @returns {Promise<Provisioned>}
 */
async function installFromWheel(packageFolder, cache, log) {
  const wheel = wheelForThisMachine();
  const python = await requirePython();
  requireCompiler();
  const libtensorflow = libtensorflowFolder(cache, wheel);
  const binding = bindingFolder(cache, packageFolder, wheel.version);
  if (!existsSync(libtensorflow)) await fetchLibtensorflow(libtensorflow, {wheel, python, log});
  await buildBinding(binding, {packageFolder, libtensorflow, python, log});
  placeBinding({packageFolder, libtensorflow, binding});
  const check = await checkNodePackage(packageFolder, {cache});
  if (!check.loads) {
    throw new ProvisionError(
      'does-not-load',
      `tfjs-node was built, but does not load: ${check.reason}`,
      'run npx tfjs-sparsify doctor and compare the processor and the C library with what TensorFlow needs',
    );
  }
  log(`tfjs-node is ready, with TensorFlow ${check.tensorflow}`);
  return loaded('provisioned', 'wheel', check.tensorflow);
}

/**
 * @param {'ready' | 'provisioned'} state
 * @param {'binding' | 'cache' | 'installer' | 'wheel'} how
 * @param {string | null} tensorflow
 * @returns {Provisioned}
 */
function loaded(state, how, tensorflow) {
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

/** @param {unknown} error */
function explain(error) {
  if (error instanceof ProvisionError) return {reason: error.message, help: error.help};
  return {
    reason: /** @type {Error} */ (error).message,
    help: 'check that the cache folder can be written (XDG_CACHE_HOME moves it)',
  };
}
