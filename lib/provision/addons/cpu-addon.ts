/**
 * @file The addon with this package's TensorFlow ops for the CPU (lib/kernels/native): built with the C++ compiler into the
 * per-user cache at `native/<hash of sources and flags>-<platform>-<arch>-<C library>/sparsify.node`. It finds TensorFlow's
 * functions in the libtensorflow that the process has loaded, so one build serves every version of it, and of Node.
 */
import {readFileSync, readdirSync} from 'node:fs';
import {cpus} from 'node:os';
import {join} from 'node:path';
import {hashOf} from '../fingerprint.js';
import {bindingPath, packagedLibraries} from '../node-package/package-folder.js';
import {inPackage} from '../package-root.js';
import {requireCxxCompiler} from '../processes/programs.js';
import {ProvisionError} from '../provision-error.js';
import {nodeApiHeaders} from './compile.js';
import type {AddonPlace, AddonRecipe, NoAddon} from './recipe.js';

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

const HIGHWAY = 'third_party/highway';

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
  'int4-loops.cc',
  'large-pages.cc',
  'prefetch-trial.cc',
  'side-by-side.cc',
  'max-target.cc',
  'narrow-loops.cc',
  'ops.cc',
  'pool-threads.cc',
  'pool.cc',
  'row-loops.cc',
  'shared/decoder-description.cc',
  'sparsified-matmul.cc',
  'tensorflow/tensorflow-api.cc',
  `${HIGHWAY}/hwy/abort.cc`,
  `${HIGHWAY}/hwy/targets.cc`,
];

/** The recipe of the kernels for tfjs-node; none with `SPARSIFY_NATIVE=off` in the environment. */
export function cpuAddon({packageFolder}: Pick<AddonPlace, 'packageFolder'>): AddonRecipe | NoAddon {
  if (process.env.SPARSIFY_NATIVE === 'off') return {reason: 'SPARSIFY_NATIVE=off'};
  const sources = inPackage('lib', 'kernels', 'native');
  const contents = sourceFiles(sources).flatMap((name) => [`${name}\0`, readFileSync(join(sources, name))]);
  const hash = hashOf(...contents, [...COMPILE_FLAGS, ...LINK_FLAGS].join(' '));
  const binding = bindingPath(packageFolder);
  const include = ['-I', sources, '-I', join(sources, HIGHWAY), '-I', nodeApiHeaders()];
  return {
    what: 'native kernels',
    missing: 'the native kernels are not built',
    command: 'npx tfjs-sparsify provision',
    takes: 'about 1 min',
    without: 'going on without the native sparse kernels',
    kind: 'native',
    folder: 'native',
    version: `${hash}-${process.platform}-${process.arch}-${cLibrary()}`,
    file: 'sparsify.node',
    sources,
    units: UNITS,
    compiler: requireCompiler,
    compileFlags: () => [...COMPILE_FLAGS, ...include],
    linkFlags: LINK_FLAGS,
    compileTimeoutMs: COMPILE_TIMEOUT_MS,
    compilerAdvice: 'g++ 9 or clang 12 or newer',
    dependsOn: {
      texts: [cpus()[0]?.model ?? ''],
      files: [...(binding === undefined ? [] : [binding]), ...packagedLibraries(packageFolder)],
    },
    trial: {
      program: new URL('cpu-addon-child.js', import.meta.url),
      packageFolder,
      timeoutMs: LOAD_TIMEOUT_MS,
    },
  };
}

function requireCompiler(): string[] {
  if (process.platform === 'win32') {
    throw new ProvisionError(
      'platform',
      'there are no native kernels for Windows',
      'use WSL, or go on with the stock operations of tfjs-node',
    );
  }
  return requireCxxCompiler('builds the native kernels');
}

/**
 * What the addon is made of, headers too, by names below the folder of sources. Neither tests nor the sources of CUDA and
 * WebAssembly count: the published package has no tests, and its build must have the name of a checkout's.
 */
function sourceFiles(sources: string): string[] {
  return readdirSync(sources, {recursive: true, encoding: 'utf8'})
    .map((name) => name.replaceAll('\\', '/'))
    .filter((name) => /\.(cc|h)$/.test(name) && !/^(test|cuda|wasm)\//.test(name))
    .sort();
}

function cLibrary(): string {
  if (process.platform !== 'linux') return 'system';
  const {header} = process.report.getReport() as {header: {glibcVersionRuntime?: string}};
  return header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
}
