#!/usr/bin/env node
/**
 * @file Builds the tests of the native kernels (lib/kernels/native/test) with the sanitizers of the C++ compiler and runs
 * them: under AddressSanitizer and UndefinedBehaviorSanitizer, under ThreadSanitizer, and kernel and decoder without, for
 * the instruction sets that this machine has.
 *
 * Usage: npm run sanitize
 */
import {spawnSync} from 'node:child_process';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';

const SOURCES = join(dirname(fileURLToPath(import.meta.url)), '..', 'lib', 'kernels', 'native');
const PRODUCTS = [
  'sparsified-matmul.cc',
  ...['row', 'block', 'int8', 'int4', 'narrow'].map((kind) => `${kind}-loops.cc`),
  'pool-threads.cc',
  'pool.cc',
];
const KERNEL = ['test/sparsified-matmul-test.cc', ...PRODUCTS];
const INT8 = ['test/int8-matmul-test.cc', ...PRODUCTS];
const INT4 = ['test/int4-matmul-test.cc', ...PRODUCTS];
const HIGHWAY = ['third_party/highway/hwy/targets.cc', 'third_party/highway/hwy/abort.cc'];
const DECODER = [
  'test/decoder-test.cc',
  ...['session', 'pass', 'products', 'model', 'cache', 'loops'].map((part) => `decoder-${part}.cc`),
  'shared/decoder-description.cc',
  'attention-loops.cc',
  'large-pages.cc',
  'prefetch-trial.cc',
  'side-by-side.cc',
  ...PRODUCTS,
];
const POOL = ['test/pool-test.cc', 'pool-threads.cc', 'pool.cc'];
const ADDRESS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-fno-omit-frame-pointer'];

/** Highway's bits for targets: without AVX2 and above, SSE4 is what is left, then SSE2. */
const [BELOW_AVX2, BELOW_SSE4] = ['HWY_AVX2|HWY_AVX3', 'HWY_AVX2|HWY_AVX3|HWY_SSE4'];
const ALWAYS_OFF = 'HWY_AVX10_2|HWY_AVX3_SPR|HWY_AVX3_ZEN4|HWY_AVX3_DL|HWY_SSSE3';
const without = (/** @type {string} */ targets) => [`-DHWY_DISABLED_TARGETS=(${ALWAYS_OFF}|${targets})`];

/** @type {readonly {name: string, units: readonly string[], flags: readonly string[]}[]} */
const RUNS = [
  {name: 'pool, ThreadSanitizer', units: POOL, flags: ['-O1', '-fsanitize=thread']},
  {name: 'pool, AddressSanitizer', units: POOL, flags: ['-O1', ...ADDRESS]},
  {name: 'kernel, AddressSanitizer', units: [...KERNEL, ...HIGHWAY], flags: ['-O1', ...ADDRESS]},
  {name: 'kernel, ThreadSanitizer', units: [...KERNEL, ...HIGHWAY], flags: ['-O1', '-fsanitize=thread']},
  {name: 'INT8 kernel, AddressSanitizer', units: [...INT8, ...HIGHWAY], flags: ['-O1', ...ADDRESS]},
  {name: 'INT4 kernel, AddressSanitizer', units: [...INT4, ...HIGHWAY], flags: ['-O1', ...ADDRESS]},
  {name: 'INT8 kernel, ThreadSanitizer', units: [...INT8, ...HIGHWAY], flags: ['-O1', '-fsanitize=thread']},
  {name: 'INT4 kernel, ThreadSanitizer', units: [...INT4, ...HIGHWAY], flags: ['-O1', '-fsanitize=thread']},
  {name: 'decoder, AddressSanitizer', units: [...DECODER, ...HIGHWAY], flags: ['-O1', ...ADDRESS]},
  {name: 'decoder, ThreadSanitizer', units: [...DECODER, ...HIGHWAY], flags: ['-O1', '-fsanitize=thread']},
  {name: 'decoder, as shipped', units: [...DECODER, ...HIGHWAY], flags: ['-O3']},
  {name: 'kernel, as shipped', units: [...KERNEL, ...HIGHWAY], flags: ['-O3']},
  {name: 'INT8 kernel, as shipped', units: [...INT8, ...HIGHWAY], flags: ['-O3']},
  {name: 'INT4 kernel, as shipped', units: [...INT4, ...HIGHWAY], flags: ['-O3']},
  ...(process.arch === 'x64'
    ? [
        {name: 'kernel, SSE4', units: [...KERNEL, ...HIGHWAY], flags: ['-O2', ...without(BELOW_AVX2)]},
        {name: 'INT8 kernel, SSE4', units: [...INT8, ...HIGHWAY], flags: ['-O2', ...without(BELOW_AVX2)]},
        {name: 'INT4 kernel, SSE4', units: [...INT4, ...HIGHWAY], flags: ['-O2', ...without(BELOW_AVX2)]},
        {name: 'decoder, SSE2', units: [...DECODER, ...HIGHWAY], flags: ['-O2', ...without(BELOW_SSE4)]},
        {name: 'kernel, SSE2', units: [...KERNEL, ...HIGHWAY], flags: ['-O2', ...without(BELOW_SSE4)]},
        {name: 'INT8 kernel, SSE2', units: [...INT8, ...HIGHWAY], flags: ['-O2', ...without(BELOW_SSE4)]},
        {name: 'INT4 kernel, SSE2', units: [...INT4, ...HIGHWAY], flags: ['-O2', ...without(BELOW_SSE4)]},
      ]
    : []),
];

const HELP = `Usage: npm run sanitize

Builds the tests of the native kernels with CXX (g++ by default) and runs them one after another, a few minutes in all:
${RUNS.map(({name}) => `  ${name}`).join('\n')}`;

const {values: options} = parseArgs({options: {help: {type: 'boolean', short: 'h', default: false}}});
if (options.help) console.log(HELP);
else sanitize();

/** Ends this process with 1 at the first run that fails. */
function sanitize() {
  const folder = mkdtempSync(join(tmpdir(), 'sanitize-'));
  try {
    for (const [i, {name, units, flags}] of RUNS.entries()) {
      console.log(`-- ${name}`);
      const program = join(folder, `test-${i}`);
      run(process.env.CXX ?? 'g++', [
        ...[
          '-std=c++17',
          '-g1',
          '-pthread',
          '-I',
          SOURCES,
          '-I',
          join(SOURCES, 'third_party', 'highway'),
          ...flags,
        ],
        ...units.map((unit) => join(SOURCES, unit)),
        ...['-o', program],
      ]);
      run(program, []);
    }
    console.log('all hold');
  } finally {
    rmSync(folder, {recursive: true, force: true});
  }
}

/**
 * Runs a program with its output shown; ends this process if it fails.
 *
 * @param {string} program
 * @param {readonly string[]} args
 */
function run(program, args) {
  const {status, error} = spawnSync(program, args, {stdio: 'inherit'});
  if (status === 0) return;
  console.error(error === undefined ? `${program} ended with ${status}` : error.message);
  process.exitCode = 1;
  throw new Error('a sanitizer run failed');
}
