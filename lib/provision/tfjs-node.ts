/**
 * @file Makes tfjs-node usable where its own installation fails: the ways are tried in order, the first that
 * ends with a package that loads is taken, and none failing means that a slower backend is used.
 */
import {existsSync} from 'node:fs';
import {cpuAddon} from './addons/cpu-addon.js';
import {removePartials} from './cache.js';
import {bindingFolder, buildBinding, placeBinding, requireBuildTools} from './node-package/binding.js';
import {checkNodePackage} from './node-package/load-check.js';
import {hasOfficialInstaller, runOfficialInstaller} from './node-package/official-installer.js';
import {requirePython} from './processes/programs.js';
import {ProvisionError} from './provision-error.js';
import {provisionWithAddons} from './provision-with-addons.js';
import {
  forbidden,
  installOnce,
  loaded,
  type ProvisionOptions,
  type Provisioned,
  type SetUp,
} from './provisioned.js';
import {fetchLibtensorflow, libtensorflowFolder, wheelForThisMachine} from './wheels/libtensorflow.js';

const COMMAND = 'npx tfjs-sparsify provision';

/**
 * Makes tfjs-node loadable, and builds the addons for it: that with the sparse kernels, and that with which TensorFlow
 * starts without lines of information. With `TFJS_SPARSIFY_PROVISION=off` in the environment nothing is installed.
 *
 * @returns Never rejects for a machine on which it cannot work.
 */
export function provision(options: ProvisionOptions = {}): Promise<Provisioned> {
  return provisionWithAddons(
    {name: '@tensorflow/tfjs-node', command: COMMAND, addon: cpuAddon, provisionPackage},
    options,
  );
}

async function provisionPackage(setUp: SetUp): Promise<Provisioned> {
  const {packageFolder, cache} = setUp;
  const present = await checkNodePackage(packageFolder, {cache});
  if (present.loads) return loaded('ready', 'binding', present.tensorflow);
  if (process.env.TFJS_SPARSIFY_PROVISION === 'off') {
    return forbidden(present.reason, COMMAND);
  }
  return installOnce(setUp, () => install(setUp));
}

async function install({packageFolder, cache, log}: SetUp): Promise<Provisioned> {
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

/** Takes libtensorflow and the binding out of the cache; undefined when it lacks a part, or its parts do not load. */
async function placeFromCache(
  packageFolder: string,
  cache: string,
  log: (line: string) => void,
): Promise<Provisioned | undefined> {
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

async function installFromWheel(
  packageFolder: string,
  cache: string,
  log: (line: string) => void,
): Promise<Provisioned> {
  const wheel = wheelForThisMachine();
  const python = await requirePython();
  requireBuildTools();
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
