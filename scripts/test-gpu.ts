/**
 * @file `npm run test:gpu`: the CUDA kernels and the decoder on this machine's GPU: alone against plain loops, the same under
 * compute-sanitizer (memcheck and racecheck) where it is there, and through tfjs-node-gpu. Without a GPU it says what is
 * missing and ends with 1.
 *
 * Usage: npm run test:gpu
 */
import {spawnSync} from 'node:child_process';
import {existsSync, mkdtempSync, readdirSync, rmSync} from 'node:fs';
import {createRequire} from 'node:module';
import {tmpdir} from 'node:os';
import {delimiter, dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {buildProgram} from './gpu/build-program.js';
import {requireGpu, type UsableGpu} from './gpu/require-gpu.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

const gpu = await requireGpu();
process.exitCode = gpu === undefined ? 1 : run(gpu);

/** Returns the exit code; all parts run, so that one call shows everything. */
function run(gpu: UsableGpu): number {
  console.log(`on ${gpu.name}, compute capability ${gpu.computeCapability}`);
  const failed: string[] = [];
  const step = (name: string, program: string, args: readonly string[]) => {
    console.log(`\n-- ${name}`);
    const {status, error} = spawnSync(program, args, {stdio: 'inherit', cwd: ROOT});
    if (error !== undefined) console.error(error.message);
    if (status !== 0) failed.push(name);
  };
  const folder = mkdtempSync(join(tmpdir(), 'test-gpu-'));
  try {
    const sanitizer = findSanitizer(gpu);
    for (const [what, name] of [
      ['kernels', 'sparsified-matmul-test'],
      ['decoder', 'decoder-test'],
    ] as const) {
      console.log(`\nbuilding the test of the ${what} alone`);
      const test = buildProgram(name, folder, gpu);
      step(`${what} alone`, test, []);
      for (const tool of sanitizer === undefined ? [] : ['memcheck', 'racecheck']) {
        step(`${what} alone, ${tool}`, sanitizer!, ['--tool', tool, '--error-exitcode', '1', test, 'quick']);
      }
    }
    if (sanitizer === undefined) {
      console.log('\ncompute-sanitizer is not there: memcheck and racecheck were not run');
    }
  } finally {
    rmSync(folder, {recursive: true, force: true});
  }
  const specs = readdirSync(join(ROOT, 'spec', 'gpu')).filter((name) => name.endsWith('.gpu.ts'));
  step('through tfjs-node-gpu', process.execPath, [
    join(dirname(createRequire(import.meta.url).resolve('mocha/package.json')), 'bin', 'mocha.js'),
    ...specs.map((name) => join('spec', 'gpu', name)),
  ]);
  console.log(failed.length === 0 ? '\nall hold' : `\nfailed: ${failed.join(', ')}`);
  return failed.length === 0 ? 0 : 1;
}

/** compute-sanitizer, on PATH or beside nvcc. */
function findSanitizer({nvcc}: UsableGpu): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), dirname(nvcc), '/usr/local/cuda/bin'];
  return folders.map((folder) => join(folder, 'compute-sanitizer')).find((path) => existsSync(path));
}
