/**
 * @file An addon that makes libtensorflow of the cache start without its lines of information on stderr
 * (log-level.cc): built once with the C++ compiler and libtensorflow's own headers, into the per-user cache at
 * `native/<hash>-<platform>-<arch>/log-level.node`, and tried in a child process before anyone loads it. It is to be
 * loaded before the node package. Older libraries, which the packages' own installers bring, need none: they heed
 * TF_CPP_MIN_LOG_LEVEL from the start.
 */
import {createHash} from 'node:crypto';
import {existsSync, readFileSync, realpathSync, statSync} from 'node:fs';
import {createRequire} from 'node:module';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {buildAddonOnce, hashOf, provenAddon, tryAddon} from './addon.mjs';
import {cacheFolder, publishFolder} from './cache.mjs';
import {compilerErrorLine, cxxCompiler, runCommand} from './command.mjs';
import {recentFailure, rememberFailure} from './failures.mjs';

/** @typedef {import('./native.mjs').Native} Native */

const ADDON = 'log-level.node';
const SOURCE = fileURLToPath(new URL('log-level.cc', import.meta.url));
const FRAMEWORK = 'libtensorflow_framework.so.2';
const COMPILE_TIMEOUT_MS = 2 * 60_000;

/** The first load of libtensorflow (850 MB) from a cold disk takes tens of seconds. */
const LOAD_TIMEOUT_MS = 120_000;

const FLAGS = ['-std=c++17', '-O1', '-fPIC', '-shared', '-fvisibility=hidden', '-w'];
/** nodelete: Node unloads the addons of a worker that ends, and TensorFlow stays. */
const LINK_FLAGS = ['-Wl,-z,initfirst', '-Wl,-z,nodelete', `-l:${FRAMEWORK}`];

/**
 * Loads the addon, if there is one for this node package. To be called before the package is loaded; costs a few
 * milliseconds.
 *
 * @param {{packageFolder: string, cache?: string}} options
 */
export async function setLogLevel(options) {
  const addon = await findLogLevel(options);
  if (!('path' in addon)) return;
  try {
    createRequire(import.meta.url)(addon.path);
  } catch {
    // TensorFlow computes the same without the addon; only its lines of information come too.
  }
}

/**
 * The addon, if it is built and works here.
 *
 * @param {{packageFolder: string, cache?: string}} options
 * @returns {Promise<Native>}
 */
export async function findLogLevel({packageFolder, cache = cacheFolder()}) {
  const path = addonPath(packageFolder, cache);
  if (path === undefined) return {reason: "this libtensorflow's headers have no Abseil"};
  return provenAddon({
    path,
    missing: 'it is not built; run: npx tfjs-sparsify provision',
    cache,
    kind: 'log-level',
    packageFolder,
    fingerprint: () => fingerprintOf(path, packageFolder),
    attempt: () =>
      tryAddon({
        child: fileURLToPath(new URL('log-level-child.mjs', import.meta.url)),
        what: 'loading the addon for the log level',
        packageFolder,
        addon: path,
        env: process.env,
        timeoutMs: LOAD_TIMEOUT_MS,
      }),
  });
}

/**
 * Builds the addon for a node package that loads, unless it is there, needless, or failed less than an hour ago.
 *
 * @param {{packageFolder: string, cache?: string, log?: (line: string) => void, force?: boolean}} options
 * @returns {Promise<Native>} Never rejects for a machine on which it cannot work.
 */
export async function provisionLogLevel({
  packageFolder,
  cache = cacheFolder(),
  log = () => {},
  force = false,
}) {
  const path = addonPath(packageFolder, cache);
  const options = {packageFolder, cache};
  if (path === undefined || process.env.TFJS_SPARSIFY_PROVISION === 'off') return findLogLevel(options);
  const failure = recentFailure(cache, path);
  if (!force && failure !== undefined) return {reason: failure.reason};
  /** @type {Native} */
  let addon;
  try {
    // The lock of all that is built in this folder: each build removes what others left half-made there.
    await buildAddonOnce(path, join(cache, 'native.lock'), () => build(path, packageFolder), {log});
    addon = await findLogLevel(options);
  } catch (error) {
    addon = {reason: /** @type {Error} */ (error).message};
  }
  if ('reason' in addon) {
    rememberFailure(cache, path, addon.reason, '');
    log(`TensorFlow will write lines of information on stderr: ${addon.reason}`);
  }
  return addon;
}

/**
 * Where the addon is, or will be; undefined where libtensorflow needs none.
 *
 * @param {string} packageFolder
 * @param {string} cache
 */
function addonPath(packageFolder, cache) {
  const deps = join(packageFolder, 'deps');
  const framework = join(deps, 'lib', FRAMEWORK);
  if (process.platform !== 'linux' || !existsSync(framework)) return undefined;
  if (!existsSync(join(deps, 'include', 'absl', 'log', 'globals.h'))) return undefined;
  const hash = createHash('sha256').update(readFileSync(SOURCE));
  hash.update([...FLAGS, ...LINK_FLAGS, realpathSync(framework)].join(' '));
  const folder = `${hash.digest('hex').slice(0, 24)}-${process.platform}-${process.arch}`;
  return join(cache, 'native', folder, ADDON);
}

/**
 * @param {string} path
 * @param {string} packageFolder
 */
async function build(path, packageFolder) {
  const compiler = cxxCompiler();
  if (compiler === undefined) throw new Error('there is no C++ compiler on PATH');
  const [program, ...first] = compiler;
  const deps = realpathSync(join(packageFolder, 'deps'));
  await publishFolder(dirname(path), async (partial) => {
    const args = [
      ...first,
      ...FLAGS,
      ...['-I', join(deps, 'include'), SOURCE, '-o', join(partial, ADDON)],
      ...['-L', join(deps, 'lib'), `-Wl,-rpath,${join(deps, 'lib')}`],
      ...LINK_FLAGS,
    ];
    const result = await runCommand(program, args, {timeoutMs: COMPILE_TIMEOUT_MS});
    if (result.code === 0) return;
    throw new Error(`the addon for the log level could not be built: ${compilerErrorLine(result)}`);
  });
}

/**
 * Changes whenever the outcome of loading may.
 *
 * @param {string} path
 * @param {string} packageFolder
 */
function fingerprintOf(path, packageFolder) {
  const parts = [process.version, process.arch];
  for (const file of [path, join(packageFolder, 'deps', 'lib', FRAMEWORK)]) {
    const {size, mtimeMs} = statSync(file);
    parts.push(`${realpathSync(file)} ${size} ${mtimeMs}`);
  }
  return hashOf(parts.join('\n'));
}
