/**
 * @file An addon that makes libtensorflow of the cache start without its lines of information on stderr
 * (log-level.cc): built with the C++ compiler and libtensorflow's own headers, into the per-user cache at
 * `native/<hash>-<platform>-<arch>/log-level.node`. It is to be loaded before the node package. Older libraries, which
 * the packages' own installers bring, need none: they heed TF_CPP_MIN_LOG_LEVEL from the start.
 */
import {existsSync, readFileSync, realpathSync} from 'node:fs';
import {createRequire} from 'node:module';
import {join} from 'node:path';
import {hashOf} from '../fingerprint.js';
import {inPackage} from '../package-root.js';
import {requireCxxCompiler} from '../processes/programs.js';
import {findAddon, type FindAddonOptions} from './provide-addon.js';
import type {AddonPlace, AddonRecipe, NoAddon} from './recipe.js';

const SOURCE = 'log-level.cc';
const FRAMEWORK = 'libtensorflow_framework.so.2';
const COMPILE_TIMEOUT_MS = 2 * 60_000;

/** The first load of libtensorflow (850 MB) from a cold disk takes tens of seconds. */
const LOAD_TIMEOUT_MS = 120_000;

const COMPILE_FLAGS = ['-std=c++17', '-O1', '-fPIC', '-fvisibility=hidden', '-w'];
/** nodelete: Node unloads the addons of a worker that ends, and TensorFlow stays. */
const LINK_FLAGS = ['-shared', '-Wl,-z,initfirst', '-Wl,-z,nodelete', `-l:${FRAMEWORK}`];

/**
 * Loads the addon, if there is one for this node package. To be called before the package is loaded; costs a few
 * milliseconds.
 */
export async function setLogLevel(options: Omit<FindAddonOptions, 'fresh'>): Promise<void> {
  const addon = await findAddon(logLevelAddon, options);
  if (!('path' in addon)) return;
  try {
    createRequire(import.meta.url)(addon.path);
  } catch {
    // TensorFlow computes the same without the addon; only its lines of information come too.
  }
}

/** The recipe of the addon; none for a libtensorflow that does not log through Abseil. */
export function logLevelAddon({packageFolder}: Pick<AddonPlace, 'packageFolder'>): AddonRecipe | NoAddon {
  const deps = join(packageFolder, 'deps');
  const framework = join(deps, 'lib', FRAMEWORK);
  const needed = [framework, join(deps, 'include', 'absl', 'log', 'globals.h')];
  if (process.platform !== 'linux' || !needed.every((path) => existsSync(path))) {
    return {reason: "this libtensorflow's headers have no Abseil"};
  }
  const real = realpathSync(deps);
  const sources = inPackage('lib', 'provision', 'addons');
  const flags = [...COMPILE_FLAGS, ...LINK_FLAGS, realpathSync(framework)].join(' ');
  return {
    what: "addon for TensorFlow's log level",
    missing: "the addon for TensorFlow's log level is not built",
    command: 'npx tfjs-sparsify provision',
    without: 'TensorFlow will write lines of information on stderr',
    kind: 'log-level',
    folder: 'native',
    version: `${hashOf(readFileSync(join(sources, SOURCE)), flags)}-${process.platform}-${process.arch}`,
    file: 'log-level.node',
    sources,
    units: [SOURCE],
    compiler: () => requireCxxCompiler("builds the addon for TensorFlow's log level"),
    compileFlags: () => [...COMPILE_FLAGS, '-I', join(real, 'include')],
    linkFlags: ['-L', join(real, 'lib'), `-Wl,-rpath,${join(real, 'lib')}`, ...LINK_FLAGS],
    compileTimeoutMs: COMPILE_TIMEOUT_MS,
    compilerAdvice: 'g++ 9 or clang 12 or newer',
    dependsOn: {texts: [], files: [framework]},
    trial: {
      program: new URL('log-level-child.js', import.meta.url),
      packageFolder,
      timeoutMs: LOAD_TIMEOUT_MS,
    },
  };
}
