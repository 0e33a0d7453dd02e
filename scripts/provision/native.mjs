/**
 * @file The addon with this package's TensorFlow ops (lib/kernels/native): built once a machine with the C++ compiler,
 * into the per-user cache at `native/<hash of sources and flags>-<platform>-<arch>-<C library>/sparsify.node`, and
 * tried in a child process before anyone loads it. It finds TensorFlow's functions in the libtensorflow that the
 * process has loaded, so one build serves every version of it, and of Node.
 */
import {createHash} from 'node:crypto';
import {existsSync, readFileSync, readdirSync, realpathSync, rmSync, statSync} from 'node:fs';
import {cpus} from 'node:os';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {builtAddon, compileAll, hashOf, nodeApiHeaders, provenAddon, tryAddon} from './addon.mjs';
import {cacheFolder, publishFolder} from './cache.mjs';
import {compilerErrorLine, cxxCompiler, runCommand} from './command.mjs';
import {ProvisionError} from './error.mjs';
import {bindingPath} from './load-check.mjs';

const ADDON = 'sparsify.node';
const COMPILE_TIMEOUT_MS = 10 * 60_000;

/** The first load of libtensorflow (850 MB) from a cold disk takes tens of seconds. */
const LOAD_TIMEOUT_MS = 120_000;

/** -O3: at -O2 g++ 12 leaves the loops over registers rolled, and 8 rows take five times as long. */
const COMPILE_FLAGS = ['-std=c++17', '-O3', '-fPIC', '-fvisibility=hidden', '-pthread', '-DNAPI_VERSION=8'];

/** nodelete: TensorFlow keeps pointers to the kernels, and Node unloads the addons of a worker that ends. */
const LINK_FLAGS =
  process.platform === 'darwin'
    ? ['-bundle', '-undefined', 'dynamic_lookup']
    : ['-shared', '-pthread', '-ldl', '-Wl,-z,nodelete'];

const SOURCES = fileURLToPath(new URL('../../lib/kernels/native/', import.meta.url));
const HIGHWAY = 'third_party/highway';

/** The files that are compiled; `test/` is not part of the addon. */
const UNITS = [
  'addon.cc',
  'attention-loops.cc',
  'block-loops.cc',
  'decoder-cache.cc',
  'decoder-loops.cc',
  'decoder-model.cc',
  'decoder-op.cc',
  'decoder-pass.cc',
  'decoder-products.cc',
  'decoder-session.cc',
  'int8-loops.cc',
  'large-pages.cc',
  'max-target.cc',
  'narrow-loops.cc',
  'ops.cc',
  'pool.cc',
  'row-loops.cc',
  'shared/decoder-description.cc',
  'sparsified-matmul.cc',
  'tensorflow/tensorflow-api.cc',
  `${HIGHWAY}/hwy/abort.cc`,
  `${HIGHWAY}/hwy/targets.cc`,
];

/**
 * @typedef {{path: string} | {reason: string}} Native The addon, proven to load and compute beside this tfjs-node; or
 *     why there is none.
 */

/**
 * @typedef {object} NativeOptions
 * @property {string} tfjsNodeDir Folder of the installed tfjs-node, which must load.
 * @property {string} [cacheDir] The per-user cache.
 * @property {(line: string) => void} [log] Is told each step.
 * @property {boolean} [fresh] Try it now, also if it was seen to work.
 */

/** Where the addon is, or will be, in the cache. @param {string} [cacheDir] */
export function nativeAddonPath(cacheDir = cacheFolder()) {
  const hash = createHash('sha256');
  for (const name of sourceFiles()) hash.update(`${name}\0`).update(readFileSync(join(SOURCES, name)));
  hash.update([...COMPILE_FLAGS, ...LINK_FLAGS].join(' '));
  const machine = `${process.platform}-${process.arch}-${cLibrary()}`;
  return join(cacheDir, 'native', `${hash.digest('hex').slice(0, 24)}-${machine}`, ADDON);
}

/**
 * The addon, if it has been built and works here. Costs a few milliseconds once that has been proven.
 *
 * @param {NativeOptions} options
 * @returns {Promise<Native>}
 */
export async function findNative({tfjsNodeDir, cacheDir = cacheFolder(), fresh = false}) {
  if (process.env.SPARSIFY_NATIVE === 'off') return {reason: 'SPARSIFY_NATIVE=off'};
  const path = nativeAddonPath(cacheDir);
  return provenAddon({
    path,
    missing: 'the native kernels are not built; run: npx tfjs-sparsify provision',
    cache: cacheDir,
    kind: 'native',
    packageFolder: tfjsNodeDir,
    fingerprint: () => fingerprintOf(path, tfjsNodeDir),
    attempt: () => tryInChild(path, tfjsNodeDir),
    fresh,
  });
}

/**
 * Builds the addon unless it is there, and tries it.
 *
 * @param {NativeOptions & {force?: boolean}} options With `force` one that does not work is built again.
 * @returns {Promise<Native>} Never rejects for a machine on which it cannot work.
 */
export async function provisionNative({
  tfjsNodeDir,
  cacheDir = cacheFolder(),
  log = () => {},
  force = false,
}) {
  if (process.env.SPARSIFY_NATIVE === 'off') return {reason: 'SPARSIFY_NATIVE=off'};
  try {
    const path = nativeAddonPath(cacheDir);
    return await builtAddon({
      ...{path, lock: join(cacheDir, 'native.lock'), log, force},
      build: () => build(path, log),
      find: (fresh) => findNative({tfjsNodeDir, cacheDir, fresh}),
    });
  } catch (error) {
    const {message, help} = /** @type {Error & {help?: string}} */ (error);
    return {reason: help === undefined ? message : `${message}; ${help}`};
  }
}

/**
 * @param {string} path
 * @param {(line: string) => void} log
 * @throws {ProvisionError}
 */
async function build(path, log) {
  const compiler = requireCompiler();
  log('building the native kernels (about 1 min)');
  await publishFolder(dirname(path), async (partial) => {
    await compileAll(UNITS, (unit, signal) =>
      run(
        compiler,
        [
          ...COMPILE_FLAGS,
          ...['-I', SOURCES, '-I', join(SOURCES, HIGHWAY), '-I', nodeApiHeaders()],
          ...['-c', join(SOURCES, unit), '-o', join(partial, objectName(unit))],
        ],
        signal,
      ),
    );
    const objects = UNITS.map((unit) => join(partial, objectName(unit)));
    await run(compiler, ['-o', join(partial, ADDON), ...objects, ...LINK_FLAGS]);
    for (const object of objects) rmSync(object);
  });
}

/** @param {string} unit */
function objectName(unit) {
  return `${unit.replaceAll('/', '-')}.o`;
}

/**
 * @param {readonly string[]} compiler Program and first arguments.
 * @param {readonly string[]} args
 * @param {AbortSignal} [signal]
 */
async function run([program, ...first], args, signal) {
  const result = await runCommand(program, [...first, ...args], {timeoutMs: COMPILE_TIMEOUT_MS, signal});
  if (result.code === 0) return;
  throw new ProvisionError(
    'build-failed',
    `the native kernels could not be built: ${compilerErrorLine(result)}`,
    'check the compiler (g++ 9 or clang 12 or newer), then run: npx tfjs-sparsify provision',
  );
}

/** @throws {ProvisionError} */
function requireCompiler() {
  if (process.platform === 'win32') {
    throw new ProvisionError(
      'platform',
      'there are no native kernels for Windows',
      'use WSL, or go on with the stock operations of tfjs-node',
    );
  }
  const compiler = cxxCompiler();
  if (compiler !== undefined) return compiler;
  throw new ProvisionError(
    'no-compiler',
    'there is no C++ compiler on PATH, which builds the native kernels',
    'install one (Debian, Ubuntu: apt-get install g++)',
  );
}

function sourceFiles() {
  return readdirSync(SOURCES, {recursive: true, encoding: 'utf8'})
    .map((name) => name.replaceAll('\\', '/'))
    .filter((name) => /\.(cc|h)$/.test(name) && !name.startsWith('test/'))
    .sort();
}

function cLibrary() {
  if (process.platform !== 'linux') return 'system';
  const report = /** @type {{header: {glibcVersionRuntime?: string}}} */ (process.report.getReport());
  return report.header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
}

/**
 * @param {string} addon
 * @param {string} tfjsNodeDir
 * @returns {Promise<string | undefined>} Why it cannot be used; undefined if it can.
 */
async function tryInChild(addon, tfjsNodeDir) {
  return tryAddon({
    child: fileURLToPath(new URL('native-child.mjs', import.meta.url)),
    what: 'loading the native kernels',
    packageFolder: tfjsNodeDir,
    addon,
    env: process.env,
    timeoutMs: LOAD_TIMEOUT_MS,
  });
}

/**
 * Changes whenever the outcome of loading may.
 *
 * @param {string} addon
 * @param {string} tfjsNodeDir
 */
function fingerprintOf(addon, tfjsNodeDir) {
  const libraries = join(tfjsNodeDir, 'deps', 'lib');
  const files = existsSync(libraries) ? readdirSync(libraries).map((name) => join(libraries, name)) : [];
  const parts = [process.version, process.arch, cpus()[0]?.model ?? ''];
  for (const file of [addon, bindingPath(tfjsNodeDir), ...files]) {
    if (file === undefined || !existsSync(file)) continue;
    const {size, mtimeMs} = statSync(file);
    parts.push(`${realpathSync(file)} ${size} ${mtimeMs}`);
  }
  return hashOf(parts.join('\n'));
}
