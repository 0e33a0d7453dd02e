/**
 * @file tfjs-node's native part, built with node-gyp beside the package and against libtensorflow of the cache.
 * It uses N-API only, so one build serves every Node version.
 */
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {createRequire} from 'node:module';
import {basename, dirname, join} from 'node:path';
import {publishFolder} from '../cache.js';
import {compilerErrorLine, runCommand} from '../processes/command.js';
import {cxxCompiler, findProgram} from '../processes/programs.js';
import {ProvisionError} from '../provision-error.js';
import {manifestOf} from './package-folder.js';

/** The newest that tfjs-node 4.22 names in its package.json; Node 20, 22 and 24 all have it. */
const NAPI_VERSION = 8;
const BINDING = 'tfjs_binding.node';
const BUILD_TIMEOUT_MS = 10 * 60_000;

/** Enough of Node's build settings for an addon that only needs the N-API headers. */
const COMMON_GYPI = `{
  'variables': {'node_use_openssl%': 'false'},
  'target_defaults': {
    'default_configuration': 'Release',
    'configurations': {'Debug': {}, 'Release': {'cflags': ['-O3']}},
    'cflags': ['-fPIC', '-pthread'],
    'ldflags': ['-pthread'],
  },
}
`;

/**
 * Where the built binding is, or will be, in the cache.
 *
 * @param tensorflow Version of libtensorflow.
 */
export function bindingFolder(cache: string, packageFolder: string, tensorflow: string): string {
  const {name, version} = manifestOf(packageFolder);
  const machine = `${process.platform}-${process.arch}`;
  return join(cache, `${basename(name)}-${version}-tf${tensorflow}-napi${NAPI_VERSION}-${machine}`);
}

/**
 * Checks that an addon can be built here, before anything large is downloaded.
 *
 * @throws {ProvisionError} `no-compiler` if there is no compiler or no make.
 */
export function requireBuildTools(): void {
  const [compiler] = cxxCompiler() ?? [];
  const missing: string[] = [];
  if (compiler === undefined) missing.push('g++');
  // CXX may name one by its path, and one that is not there.
  else if (findProgram([compiler]) === undefined && !existsSync(compiler)) missing.push(compiler);
  if (findProgram(['make', 'gmake']) === undefined) missing.push('make');
  if (missing.length === 0) return;
  throw new ProvisionError(
    'no-compiler',
    `there is no ${missing.join(' and no ')} on PATH, which builds tfjs-node's native part`,
    'install a compiler (Debian, Ubuntu: apt-get install build-essential)',
  );
}

/** What the binding is built with. */
export interface BindingOptions {
  readonly packageFolder: string;
  /** Its folder, with `lib/` and `include/`. */
  readonly libtensorflow: string;
  readonly python: string;
  readonly log: (line: string) => void;
}

/**
 * Builds the binding into `folder`. Call it under the lock.
 *
 * @param folder Final place in the cache.
 * @throws {ProvisionError} `build-failed`.
 */
export async function buildBinding(
  folder: string,
  {packageFolder, libtensorflow, python, log}: BindingOptions,
): Promise<void> {
  log("building tfjs-node's native part with node-gyp (about 20 s)");
  await publishFolder(folder, async (partial) => {
    const source = join(partial, 'source');
    mkdirSync(source);
    for (const name of ['package.json', 'binding.gyp', 'binding']) {
      cpSync(join(packageFolder, name), join(source, name), {recursive: true});
    }
    symlinkSync(libtensorflow, join(source, 'deps'));
    const result = await runCommand(
      process.execPath,
      [
        createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js'),
        'rebuild',
        `--nodedir=${nodeHeaders(partial)}`,
        `--python=${python}`,
        '--module_name=tfjs_binding',
        `--module_path=${join(source, 'out')}`,
        `--napi_build_version=${NAPI_VERSION}`,
      ],
      {cwd: source, timeoutMs: BUILD_TIMEOUT_MS},
    );
    if (result.code !== 0) {
      throw new ProvisionError(
        'build-failed',
        `node-gyp could not build tfjs-node's native part: ${compilerErrorLine(result)}`,
        'check the compiler (g++ 9 or newer, make), then run: npx tfjs-sparsify provision',
      );
    }
    renameSync(join(source, 'build', 'Release', BINDING), join(partial, BINDING));
    for (const name of readdirSync(partial)) {
      if (name !== BINDING) rmSync(join(partial, name), {recursive: true});
    }
  });
}

/**
 * Puts library and binding where tfjs-node looks for them: `deps` is a link into the cache, the binding a copy.
 *
 * @throws {ProvisionError} `package-read-only` if the package's folder cannot be written.
 */
export function placeBinding({
  packageFolder,
  libtensorflow,
  binding,
}: Readonly<Record<'packageFolder' | 'libtensorflow' | 'binding', string>>): void {
  const target = join(packageFolder, 'lib', `napi-v${NAPI_VERSION}`, BINDING);
  const deps = join(packageFolder, 'deps');
  try {
    const link = `${deps}.${process.pid}`;
    symlinkSync(libtensorflow, link);
    rmSync(deps, {recursive: true, force: true});
    renameSync(link, deps);
    mkdirSync(dirname(target), {recursive: true});
    copyFileSync(join(binding, BINDING), `${target}.${process.pid}`);
    renameSync(`${target}.${process.pid}`, target);
  } catch (error) {
    throw new ProvisionError(
      'package-read-only',
      `${packageFolder} cannot be written: ${(error as Error).message}`,
      'run npx tfjs-sparsify provision once as the user who installed the package',
    );
  }
}

/**
 * A folder to give node-gyp as `--nodedir`: that of the running node if it came with headers, else one made
 * from the package node-api-headers.
 */
function nodeHeaders(scratch: string): string {
  const prefix = dirname(dirname(process.execPath));
  const own = join(prefix, 'include', 'node');
  if (existsSync(join(own, 'node_api.h')) && existsSync(join(own, 'common.gypi'))) return prefix;
  const folder = join(scratch, 'headers');
  const include = join(folder, 'include', 'node');
  const packaged = dirname(createRequire(import.meta.url).resolve('node-api-headers/package.json'));
  cpSync(join(packaged, 'include'), include, {recursive: true});
  writeFileSync(join(include, 'common.gypi'), COMMON_GYPI);
  writeFileSync(join(include, 'config.gypi'), JSON.stringify({variables: {}, target_defaults: {}}));
  return folder;
}
