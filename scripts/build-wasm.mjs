#!/usr/bin/env node
/**
 * @file Compiles the C++ of lib/kernels/native to WebAssembly, in both kinds, and writes them as the modules that the package
 * has: lib/kernels/wasm/plain-module.ts and threads-module.ts. Their sources' hash stands in them, so that a spec can tell when
 * they must be built anew.
 *
 * Usage: npm run build:wasm [-- --help]
 */
import {execFile, execFileSync, spawnSync} from 'node:child_process';
import {createHash} from 'node:crypto';
import {existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {availableParallelism, homedir, tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {promisify} from 'node:util';
import {gzipSync} from 'node:zlib';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const NATIVE = join(ROOT, 'lib/kernels/native');
const MODULES = join(ROOT, 'lib/kernels/wasm');

/** The compiler: Zig's clang with its C and C++ libraries, a wheel on PyPI for every system. Another version gives other bytes. */
const ZIG_VERSION = '0.15.2';

const UNITS = [
  'attention-loops.cc',
  'block-loops.cc',
  'decoder-cache.cc',
  'decoder-loops.cc',
  'decoder-model.cc',
  'decoder-pass.cc',
  'decoder-products.cc',
  'decoder-session.cc',
  'int8-loops.cc',
  'int4-loops.cc',
  'narrow-loops.cc',
  'pool.cc',
  'row-loops.cc',
  'shared/decoder-description.cc',
  'sparsified-matmul.cc',
  'wasm/decoder.cc',
  'wasm/host.cc',
  'wasm/kernels.cc',
  'wasm/pool-threads.cc',
];

const HIGHWAY = 'third_party/highway';

/** Position-independent: the kernels work in the memory of TensorFlow.js's backend, where nobody knows what is free. */
const COMPILE_FLAGS = ['-target', 'wasm32-wasi', '-O3', '-DNDEBUG', '-fPIC', '-fvisibility=hidden'];
const CXX_FLAGS = [
  '-std=c++17',
  '-fno-exceptions',
  '-fno-rtti',
  '-fno-threadsafe-statics',
  '-Wall',
  '-Wextra',
  '-Werror',
];
const LINK_FLAGS = [
  '--experimental-pic',
  '-shared',
  '--import-memory',
  '--no-entry',
  '--no-export-dynamic',
  '--gc-sections',
  '--strip-all',
  '--export-if-defined=__wasm_init_tls',
  '--export-if-defined=__tls_size',
];

/** What differs between the kinds. */
const KINDS = {
  plain: {cpu: 'generic+simd128+mutable_globals+bulk_memory', link: [], allocator: []},
  threads: {
    // Without bulk_memory the compiler would make a thread's own variables those of all threads, and say nothing.
    cpu: 'generic+simd128+mutable_globals+bulk_memory+atomics',
    link: ['--shared-memory', '--max-memory=4294967296'],
    allocator: ['-D__EMSCRIPTEN_PTHREADS__=1'],
  },
};

/** The hash of all that the modules are made of: sources, headers, flags and the compiler's version. */
export function wasmSourcesHash() {
  const hash = createHash('sha256');
  const others = /^(test|cuda|node|tensorflow)\/|^third_party\/highway\/hwy\/ops\/(x86|arm)/;
  const names = readdirSync(NATIVE, {recursive: true, encoding: 'utf8'}).map((name) =>
    name.replaceAll('\\', '/'),
  );
  for (const name of names.sort()) {
    if (!/\.(cc|h)$/.test(name) || others.test(name)) continue;
    hash.update(`${name}\0`).update(readFileSync(join(NATIVE, name)));
  }
  hash.update(JSON.stringify([ZIG_VERSION, UNITS, COMPILE_FLAGS, CXX_FLAGS, LINK_FLAGS, KINDS]));
  return hash.digest('hex');
}

/** Runs a program; its output is part of the error if it fails. */
function run(program, args, options = {}) {
  const {status, stdout, stderr, error} = spawnSync(program, args, {encoding: 'utf8', ...options});
  if (status !== 0)
    throw new Error(`${program} ${args.join(' ')}\n${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}`);
  return stdout + stderr;
}

/** Folder of the compiler, which is brought from PyPI into the user's cache once. */
function zigFolder() {
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'tfjs-sparsify');
  const folder = join(cache, `ziglang-${ZIG_VERSION}`);
  if (!existsSync(join(folder, 'ziglang'))) {
    console.log(`Bringing ziglang ${ZIG_VERSION} (90 MB) from PyPI`);
    mkdirSync(cache, {recursive: true});
    const fresh = mkdtempSync(join(cache, 'ziglang-'));
    run('python3', ['-m', 'pip', 'install', '--no-deps', '--target', fresh, `ziglang==${ZIG_VERSION}`]);
    rmSync(folder, {recursive: true, force: true});
    execFileSync('mv', [fresh, folder]);
  }
  return join(folder, 'ziglang');
}

/** The archives of the compiler's libraries, which it builds for a target when it links for it first. */
function libraryArchives(zig, flags, folder) {
  const source = join(folder, 'empty.cc');
  writeFileSync(source, 'int main() { return 0; }\n');
  const linking = run(zig, ['c++', ...flags, source, '-o', join(folder, 'empty.wasm')], {
    env: {...process.env, ZIG_VERBOSE_LINK: '1'},
  });
  const line = linking.split('\n').find((each) => each.startsWith('wasm-ld'));
  return line.split(' ').filter((each) => each.endsWith('.a'));
}

/** Builds one kind; returns its bytes. */
async function build(kind, zigPath) {
  const {cpu, link, allocator} = KINDS[kind];
  const zig = join(zigPath, 'zig');
  const folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-wasm-'));
  try {
    const flags = [...COMPILE_FLAGS, `-mcpu=${cpu}`];
    const objects = UNITS.map((unit) => join(folder, `${unit.replaceAll('/', '_')}.o`));
    let next = 0;
    const compile = async () => {
      while (next < UNITS.length) {
        const i = next++;
        const args = [...flags, ...CXX_FLAGS, '-I', '.', '-I', HIGHWAY, '-c', UNITS[i], '-o', objects[i]];
        await promisify(execFile)(zig, ['c++', ...args], {cwd: NATIVE});
      }
    };
    await Promise.all(Array.from({length: availableParallelism()}, compile));
    // The allocator of the compiler's C library, built here for its own way to ask for memory (wasm/host.cc).
    const allocatorObject = join(folder, 'emmalloc.o');
    const source = join(zigPath, 'lib/libc/wasi/emmalloc/emmalloc.c');
    run(zig, ['cc', ...flags, ...allocator, '-c', source, '-o', allocatorObject]);
    const archives = libraryArchives(zig, [...flags, ...CXX_FLAGS], folder);
    const output = join(folder, 'module.wasm');
    run(zig, ['wasm-ld', ...LINK_FLAGS, ...link, ...objects, allocatorObject, ...archives, '-o', output]);
    return readFileSync(output);
  } finally {
    rmSync(folder, {recursive: true, force: true});
  }
}

function writeModule(kind, bytes, hash) {
  const zipped = gzipSync(bytes, {level: 9});
  const text = `/**
 * @file The WebAssembly module for ${kind === 'threads' ? 'threads on shared memory' : 'one thread'}, zipped, in base64. Made by \`npm run build:wasm\` with
 * ziglang ${ZIG_VERSION} (PyPI); not to be changed by hand.
 */

/** Of all that it was made of; \`scripts/build-wasm.mjs\` says what that is. */
export const SOURCES = '${hash}';

export const MODULE =
  '${zipped.toString('base64')}';
`;
  writeFileSync(join(MODULES, `${kind}-module.ts`), text);
  console.log(`${kind}-module.ts: ${bytes.length} bytes, zipped ${zipped.length}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes('--help')) {
    console.log(`Usage: npm run build:wasm\n
Compiles lib/kernels/native to WebAssembly with ziglang ${ZIG_VERSION} of PyPI (brought into the user's cache: python3 with pip),
about 2 minutes, and writes lib/kernels/wasm/plain-module.ts and threads-module.ts. A spec fails while they are older than
their sources.`);
  } else {
    const zigPath = zigFolder();
    const hash = wasmSourcesHash();
    for (const kind of Object.keys(KINDS)) writeModule(kind, await build(kind, zigPath), hash);
  }
}
