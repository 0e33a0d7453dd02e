/**
 * @file The addon with the CUDA kernels for tfjs-node-gpu (lib/kernels/native/cuda): built with nvcc where it is there,
 * into the per-user cache at `native-gpu/<hash of sources, flags and TensorFlow's version>/sparsify-gpu.node`, and tried
 * on the GPU in a child process before anyone loads it. Without nvcc sparse layers mask and multiply with TensorFlow's
 * own operations.
 */
import {createHash} from 'node:crypto';
import {existsSync, readFileSync, readdirSync, rmSync, statSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {builtAddon, compileAll, hashOf, nodeApiHeaders, provenAddon, tryAddon} from './addon.mjs';
import {cacheFolder, publishFolder} from './cache.mjs';
import {findProgram, lastLines, runCommand} from './command.mjs';
import {ProvisionError} from './error.mjs';
import {checkNodePackage, bindingPath} from './load-check.mjs';
import {findNvidia} from './nvidia.mjs';

const ADDON = 'sparsify-gpu.node';
const COMPILE_TIMEOUT_MS = 20 * 60_000;
/** TensorFlow compiles some of its code for a new kind of GPU at its first use. */
const LOAD_TIMEOUT_MS = 300_000;
/** At a time; each takes up to half a GB. */
const MAX_COMPILERS = 8;

const SOURCES = fileURLToPath(new URL('../../lib/kernels/native/', import.meta.url));
const UNITS = [
  'cuda/addon.cc',
  'cuda/cublas.cc',
  'cuda/decoder-attention.cu',
  'cuda/decoder-cache.cc',
  'cuda/decoder-model.cc',
  'cuda/decoder-op.cc',
  'cuda/decoder-pass-input.cc',
  'cuda/decoder-products.cu',
  'cuda/decoder-rows-pass.cc',
  'cuda/decoder-rows.cu',
  'cuda/decoder-session.cc',
  'cuda/decoder-token-pass.cc',
  'cuda/ops.cc',
  'cuda/sparsified-matmul.cu',
  'cuda/stream.cc',
  'shared/decoder-description.cc',
  'tensorflow/tensorflow-api.cc',
];
const STREAM = 'cuda/stream.cc';

/** ftz: denormal numbers count as 0, as on the CPU. */
const FLAGS = [
  '-std=c++17',
  '-O3',
  '-ftz=true',
  '-DNAPI_VERSION=8',
  '-Xcompiler',
  '-fPIC,-fvisibility=hidden',
];
/** The runtime is linked in: it works with every driver that is new enough. nodelete: TensorFlow keeps pointers. */
const LINK_FLAGS = ['-shared', '-cudart', 'static', '-Xlinker', '-z,nodelete', '-Xlinker', '--as-needed'];

/** Compute capabilities to build for where the machine's is not known; the last one's PTX serves newer chips. */
const CAPABILITIES = ['8.0', '9.0'];

/** @typedef {import('./native.mjs').Native} Native */

/**
 * @typedef {object} GpuNativeOptions
 * @property {string} packageFolder Of the installed tfjs-node-gpu, which computes on a GPU.
 * @property {string} [cache]
 * @property {(line: string) => void} [log]
 * @property {boolean} [fresh] Try it now, also if it was seen to work.
 */

/**
 * Where the addon is, or will be, in the cache.
 *
 * @param {string} cache
 * @param {string} tensorflow Version of the libtensorflow for which it finds the stream.
 * @param {readonly string[]} capabilities
 */
function gpuAddonPath(cache, tensorflow, capabilities) {
  const hash = createHash('sha256');
  for (const name of sourceFiles()) hash.update(`${name}\0`).update(readFileSync(join(SOURCES, name)));
  hash.update([...FLAGS, ...LINK_FLAGS, tensorflow, ...capabilities].join(' '));
  return join(
    cache,
    'native-gpu',
    `${hash.digest('hex').slice(0, 24)}-${process.platform}-${process.arch}`,
    ADDON,
  );
}

/**
 * The addon, if it has been built and works on the GPU. Costs a few milliseconds once that has been proven, and the time
 * of nvidia-smi.
 *
 * @param {GpuNativeOptions} options
 * @returns {Promise<Native>}
 */
export async function findGpuNative({packageFolder, cache = cacheFolder(), fresh = false}) {
  if (process.env.SPARSIFY_NATIVE === 'off') return {reason: 'SPARSIFY_NATIVE=off'};
  const {path} = await addonFor(packageFolder, cache);
  return provenAddon({
    path,
    missing: 'the CUDA kernels are not built; run: npx tfjs-sparsify provision --gpu',
    cache,
    kind: 'native-gpu',
    packageFolder,
    fingerprint: () => fingerprintOf(path, packageFolder),
    attempt: () => tryInChild(path, packageFolder),
    fresh,
  });
}

/**
 * Builds the addon unless it is there, and tries it.
 *
 * @param {GpuNativeOptions & {force?: boolean}} options With `force` one that does not work is built again.
 * @returns {Promise<Native>} Never rejects for a machine on which it cannot work.
 */
export async function provisionGpuNative({
  packageFolder,
  cache = cacheFolder(),
  log = () => {},
  force = false,
}) {
  if (process.env.SPARSIFY_NATIVE === 'off') return {reason: 'SPARSIFY_NATIVE=off'};
  try {
    const {path, tensorflow, capabilities} = await addonFor(packageFolder, cache);
    if (!existsSync(path) && process.env.TFJS_SPARSIFY_PROVISION === 'off') {
      return {reason: 'TFJS_SPARSIFY_PROVISION=off'};
    }
    return await builtAddon({
      ...{path, lock: join(cache, 'native-gpu.lock'), log, force},
      build: () => buildGpuNative(path, {packageFolder, tensorflow, capabilities, log}),
      find: (fresh) => findGpuNative({packageFolder, cache, fresh}),
    });
  } catch (error) {
    const {message, help} = /** @type {Error & {help?: string}} */ (error);
    return {reason: help === undefined ? message : `${message}; ${help}`};
  }
}

/**
 * nvcc, on PATH or where CUDA's installers put it.
 *
 * @returns {string | undefined}
 */
export function findNvcc() {
  const homes = [process.env.CUDA_HOME, process.env.CUDA_PATH, '/usr/local/cuda', '/opt/cuda'];
  const usual = homes.flatMap((home) => (home ? [join(home, 'bin', 'nvcc')] : []));
  return findProgram(['nvcc']) ?? usual.find((path) => existsSync(path));
}

/**
 * Builds the addon into its place in the cache. Needs no GPU.
 *
 * @param {string} path
 * @param {object} options
 * @param {string} options.packageFolder With `deps/include` and `deps/lib` of libtensorflow; without them calls wait.
 * @param {string} options.tensorflow
 * @param {readonly string[]} options.capabilities
 * @param {(line: string) => void} options.log
 * @throws {ProvisionError} If there is no nvcc, or it fails.
 */
async function buildGpuNative(path, {packageFolder, tensorflow, capabilities, log}) {
  const nvcc = findNvcc();
  if (nvcc === undefined) {
    throw new ProvisionError(
      'no-nvcc',
      'there is no nvcc on PATH or in /usr/local/cuda/bin, which builds the CUDA kernels',
      "install NVIDIA's CUDA toolkit 12 or newer (Debian, Ubuntu: apt-get install nvidia-cuda-toolkit)",
    );
  }
  log('building the CUDA kernels with nvcc (about a minute)');
  const deps = join(packageFolder, 'deps');
  const [include, libraries] = [join(deps, 'include'), join(deps, 'lib')];
  await publishFolder(dirname(path), async (partial) => {
    const object = (/** @type {string} */ unit) => join(partial, `${unit.replaceAll('/', '-')}.o`);
    const compile = (
      /** @type {string} */ unit,
      /** @type {readonly string[]} */ flags,
      /** @type {AbortSignal | undefined} */ signal = undefined,
    ) => {
      const files = ['-c', join(SOURCES, unit), '-o', object(unit)];
      return run(nvcc, [...FLAGS, '-I', nodeApiHeaders(), ...flags, ...files], signal);
    };
    /** Against TensorFlow's headers; without them, or if they are not as known, every call waits for the device. */
    const compileStream = async () => {
      const known = existsSync(join(include, 'tensorflow', 'core', 'framework', 'op_kernel.h'));
      const flags = ['-w', `-DSPARSIFY_TENSORFLOW_VERSION="${tensorflow}"`, '-I', include];
      const failure = known
        ? await compile(STREAM, flags).catch((/** @type {Error} */ error) => error)
        : undefined;
      if (known && failure === undefined) return true;
      log(
        `TensorFlow's stream cannot be used, so every call waits: ${failure?.message ?? 'its headers are missing'}`,
      );
      await compile(STREAM, []);
      return false;
    };
    const hasStream = await compileStream();
    // The longest, CUDA's, come first.
    const units = UNITS.filter((unit) => unit !== STREAM).sort(
      (a, b) => Number(b.endsWith('.cu')) - Number(a.endsWith('.cu')),
    );
    await compileAll(
      units,
      (unit, signal) => compile(unit, unit.endsWith('.cu') ? architectures(capabilities) : [], signal),
      MAX_COMPILERS,
    );
    const tensorflowLibraries = [
      '-L',
      libraries,
      '-l:libtensorflow_framework.so.2',
      '-l:libtensorflow_cc.so.2',
    ];
    await run(nvcc, [
      ...['-o', join(partial, ADDON), ...UNITS.map(object), ...LINK_FLAGS],
      ...(hasStream ? tensorflowLibraries : []),
    ]);
    for (const unit of UNITS) rmSync(object(unit));
  });
}

/**
 * nvcc's flags for machine code for these compute capabilities, and PTX of the last for newer chips.
 *
 * @param {readonly string[]} capabilities In ascending order.
 */
export function architectures(capabilities) {
  return capabilities.flatMap((capability, i) => {
    const number = capability.replace('.', '');
    const ptx = i === capabilities.length - 1 ? `,compute_${number}` : '';
    return ['-gencode', `arch=compute_${number},code=[sm_${number}${ptx}]`];
  });
}

/**
 * @param {string} packageFolder
 * @param {string} cache
 */
async function addonFor(packageFolder, cache) {
  const {tensorflow} = await checkNodePackage(packageFolder, {cache});
  const {devices} = await findNvidia();
  const own = [...new Set(devices.map(({computeCapability}) => computeCapability))];
  const capabilities = (own.length === 0 ? CAPABILITIES : own).sort((a, b) => Number(a) - Number(b));
  return {
    path: gpuAddonPath(cache, tensorflow ?? '', capabilities),
    tensorflow: tensorflow ?? '',
    capabilities,
  };
}

/**
 * @param {string} nvcc
 * @param {readonly string[]} args
 * @param {AbortSignal} [signal]
 */
async function run(nvcc, args, signal) {
  const result = await runCommand(nvcc, args, {timeoutMs: COMPILE_TIMEOUT_MS, signal});
  if (result.code === 0) return;
  const error =
    result.stderr.split('\n').find((line) => /\b(error|fatal)\b/i.test(line)) ?? lastLines(result, 1);
  throw new ProvisionError(
    'build-failed',
    `the CUDA kernels could not be built: ${error.trim()}`,
    'check nvcc (12 or newer) and the C++ compiler that it works with, then run: npx tfjs-sparsify provision --gpu',
  );
}

/**
 * @param {string} addon
 * @param {string} packageFolder
 * @returns {Promise<string | undefined>} Why it cannot be used; undefined if it can.
 */
async function tryInChild(addon, packageFolder) {
  return tryAddon({
    child: fileURLToPath(new URL('native-gpu-child.mjs', import.meta.url)),
    what: 'trying the CUDA kernels',
    packageFolder,
    addon,
    env: {TF_FORCE_GPU_ALLOW_GROWTH: 'true', ...process.env},
    timeoutMs: LOAD_TIMEOUT_MS,
  });
}

/** What the addon is built from, with the folders that it shares with the addon for the CPU. */
function sourceFiles() {
  return ['cuda', 'node', 'shared', 'tensorflow']
    .flatMap((folder) => readdirSync(join(SOURCES, folder)).map((name) => `${folder}/${name}`))
    .filter((name) => /\.(cc|cu|h|cuh)$/.test(name))
    .sort();
}

/**
 * Changes whenever the outcome of trying may.
 *
 * @param {string} addon
 * @param {string} packageFolder
 */
function fingerprintOf(addon, packageFolder) {
  const parts = [process.version, process.env.LD_LIBRARY_PATH ?? '', process.env.CUDA_VISIBLE_DEVICES ?? ''];
  const libraries = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'].map((name) =>
    join(packageFolder, 'deps', 'lib', name),
  );
  for (const file of [addon, bindingPath(packageFolder), ...libraries, '/proc/driver/nvidia/version']) {
    if (file === undefined || !existsSync(file)) continue;
    const {size, mtimeMs} = statSync(file);
    parts.push(file.startsWith('/proc') ? readFileSync(file, 'utf8') : `${file} ${size} ${mtimeMs}`);
  }
  return hashOf(parts.join('\n'));
}
