/** @file Builds a program of lib/kernels/native/cuda/test with nvcc. */
import {spawnSync} from 'node:child_process';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import type {UsableGpu} from './require-gpu.js';

const PRODUCTS = ['sparsified-matmul.cu'];
const DECODER = [
  ...PRODUCTS,
  ...['decoder-products.cu', 'decoder-attention.cu', 'decoder-rows.cu'],
  ...['session', 'token-pass', 'rows-pass', 'pass-input', 'model', 'cache'].map(
    (part) => `decoder-${part}.cc`,
  ),
  ...['cublas.cc', '../shared/decoder-description.cc'],
];

/** The programs of `test/`, and what each is made of beside its own file. */
const PROGRAMS = {
  'sparsified-matmul-test': PRODUCTS,
  'sparsified-matmul-bench': PRODUCTS,
  'decoder-test': DECODER,
  'decoder-bench': DECODER,
} as const;

const SOURCES = fileURLToPath(new URL('../../lib/kernels/native/cuda/', import.meta.url));

/**
 * @param name Of the file in `test/`, without extension.
 * @param folder It gets the program.
 * @returns The program's path.
 * @throws {Error} If nvcc fails; its messages are on stderr.
 */
export function buildProgram(
  name: keyof typeof PROGRAMS,
  folder: string,
  {nvcc, computeCapability}: UsableGpu,
): string {
  const program = join(folder, name);
  const {status, error} = spawnSync(
    nvcc,
    [
      ...['-std=c++17', '-O3', '-ftz=true', '-lineinfo', `-arch=sm_${computeCapability.replace('.', '')}`],
      ...['--threads', '0', '-cudart', 'static', '-o', program, '-ldl'],
      ...[join('test', `${name}.cu`), ...PROGRAMS[name]].map((unit) => join(SOURCES, unit)),
    ],
    {stdio: ['ignore', 'inherit', 'inherit']},
  );
  if (status !== 0) throw error ?? new Error(`nvcc ended with ${status}`);
  return program;
}
