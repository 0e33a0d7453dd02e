/**
 * @file Whether a backend's package loads and computes, found out in a child process, since a shared library
 * that does not fit the machine ends its process. What has been proven is remembered until the files, the
 * Node version or the processor change: then asking costs a few `stat` calls.
 */
import {createHash} from 'node:crypto';
import {existsSync, readFileSync, readdirSync, realpathSync, statSync} from 'node:fs';
import {cpus} from 'node:os';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {cacheFolder, readJson, writeJson} from './cache.mjs';
import {errorLine, runCommand} from './command.mjs';

/** The first load of libtensorflow (850 MB) from a cold disk takes tens of seconds. */
const LOAD_TIMEOUT_MS = 120_000;

/**
 * @typedef {object} LoadCheck
 * @property {boolean} loads
 * @property {string} reason Why it does not load; empty if it does.
 * @property {string | null} tensorflow TensorFlow's version, for the node packages.
 * @property {boolean} usesGpu Whether results were seen in the GPU's memory; tfjs-node-gpu also loads without one.
 */

/**
 * Checks whether a node package (tfjs-node, tfjs-node-gpu) loads.
 *
 * @param {string} packageFolder
 * @param {{cache?: string, fresh?: boolean}} [options] `cache` is where the proof is remembered; `fresh` does
 *     without it.
 * @returns {Promise<LoadCheck>}
 */
export async function checkNodePackage(packageFolder, {cache = cacheFolder(), fresh = false} = {}) {
  const binding = bindingPath(packageFolder);
  if (binding === undefined) {
    return failed(`its native part is missing (no tfjs_binding.node under ${join(packageFolder, 'lib')})`);
  }
  const proofPath = join(cache, 'proofs', `${hash(packageFolder)}.json`);
  const fingerprint = fingerprintOf(packageFolder, binding);
  const proof = readJson(proofPath);
  if (!fresh && proof?.fingerprint === fingerprint && proof.check?.loads === true) return proof.check;

  const check = await checkLoad('tensorflow', join(packageFolder, 'dist', 'index.js'));
  // That no GPU is used is asked again each time: it changes with drivers and libraries all over the system.
  if (check.loads && (check.usesGpu || !isGpuPackage(packageFolder))) {
    try {
      writeJson(proofPath, {package: packageFolder, fingerprint, check});
    } catch {
      // A cache that cannot be written only means that the next process asks again.
    }
  }
  return check;
}

/**
 * Loads a backend in a child process and computes with it.
 *
 * @param {'tensorflow' | 'wasm' | 'cpu'} kind The name under which TensorFlow.js registers it.
 * @param {string} main The main file of the backend's package.
 * @returns {Promise<LoadCheck>}
 */
export async function checkLoad(kind, main) {
  const child = fileURLToPath(new URL('load-child.mjs', import.meta.url));
  const result = await runCommand(process.execPath, [child, kind, main], {
    env: {
      ...process.env,
      NODE_OPTIONS: '',
      TF_CPP_MIN_LOG_LEVEL: '3',
      // Without it TensorFlow takes all of the GPU's memory, and what one tensor takes cannot be seen.
      TF_FORCE_GPU_ALLOW_GROWTH: 'true',
    },
    timeoutMs: LOAD_TIMEOUT_MS,
  });
  if (result.code === 0) {
    return {loads: true, reason: '', ...JSON.parse(result.stdout.trim().split('\n').at(-1) ?? '{}')};
  }
  if (result.timedOut) return failed(`loading did not end within ${LOAD_TIMEOUT_MS / 1000} s`);
  if (result.signal !== null) return failed(`loading ended the process with ${result.signal}`);
  return failed(errorLine(result));
}

/**
 * Where tfjs-node's native part is.
 *
 * @param {string} packageFolder
 * @returns {string | undefined} The newest N-API version's that this Node can load; undefined if there is none.
 */
export function bindingPath(packageFolder) {
  const supported = Number(process.versions.napi);
  const lib = join(packageFolder, 'lib');
  if (!existsSync(lib)) return undefined;
  return readdirSync(lib)
    .map((name) => Number(/^napi-v(\d+)$/.exec(name)?.[1] ?? Infinity))
    .filter((version) => version <= supported)
    .sort((a, b) => b - a)
    .map((version) => join(lib, `napi-v${version}`, 'tfjs_binding.node'))
    .find((path) => existsSync(path));
}

/**
 * Changes whenever the outcome of loading may.
 *
 * @param {string} packageFolder
 * @param {string} binding
 */
function fingerprintOf(packageFolder, binding) {
  const libraries = join(packageFolder, 'deps', 'lib');
  const files = existsSync(libraries) ? readdirSync(libraries).map((name) => join(libraries, name)) : [];
  const parts = [process.version, process.arch, cpus()[0]?.model ?? ''];
  if (isGpuPackage(packageFolder)) {
    const driver = '/proc/driver/nvidia/version';
    parts.push(existsSync(driver) ? readFileSync(driver, 'utf8') : 'no driver');
    parts.push(process.env.LD_LIBRARY_PATH ?? '', process.env.CUDA_VISIBLE_DEVICES ?? '');
  }
  for (const file of [binding, ...files]) {
    if (!existsSync(file)) {
      parts.push(`${file} broken`);
      continue;
    }
    const {size, mtimeMs} = statSync(file);
    parts.push(`${realpathSync(file)} ${size} ${mtimeMs}`);
  }
  return hash(parts.join('\n'));
}

/** @param {string} packageFolder */
function isGpuPackage(packageFolder) {
  return /-gpu$/.test(JSON.parse(readFileSync(join(packageFolder, 'package.json'), 'utf8')).name);
}

/** @param {string} reason @returns {LoadCheck} */
function failed(reason) {
  return {loads: false, reason, tensorflow: null, usesGpu: false};
}

/** @param {string} text */
function hash(text) {
  return createHash('sha256').update(text).digest('hex').slice(0, 24);
}

/**
 * Finds an installed package as Node does.
 *
 * @param {string} name
 * @param {readonly string[]} from Folders to start from, in this order.
 * @returns {string | undefined} Its folder, or undefined.
 */
export function packageFolderOf(name, from) {
  for (const start of from) {
    for (let folder = start; ; folder = dirname(folder)) {
      const candidate = join(folder, 'node_modules', name);
      if (existsSync(join(candidate, 'package.json'))) return realpathSync(candidate);
      if (dirname(folder) === folder) break;
    }
  }
  return undefined;
}
