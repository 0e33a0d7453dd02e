/**
 * @file `npm run bench -- gpu`: the CUDA kernels on this machine's GPU: alone, by replayed graphs beside cuBLAS and the
 * device's read roof; decoding of a large language model; and both through tfjs-node-gpu, beside `tf.matMul`. Without a GPU it
 * says what is missing and ends with 1.
 *
 * Usage: npm run bench -- gpu [--json]
 */
import {spawnSync} from 'node:child_process';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {parseArgs} from 'node:util';
import {loadBackend} from '../../lib/backend/load.js';
import {buildProgram} from '../gpu/build-program.js';
import {requireGpu, type UsableGpu} from '../gpu/require-gpu.js';
import {measureDecoding, type DecodingRow} from './measure/gpu-decoding.js';
import {measureOps, type OpRow} from './measure/gpu-ops.js';

const HELP = `Usage: npm run bench -- gpu [--json]

Output of --json, one object:
  device, computeCapability
  kernels  {device, readBytesPerSecond, rows: [{shape, dtype, rows, sparsity, us, vsCublas, vsOwnDense, bandwidthShare}]}
           of the kernels alone: microseconds a call in a replayed graph, times of cuBLAS (TF32, float32 weights) and of
           the same kernel with nothing masked over that, bytes that had to be read over what the device reads
  decoding [{weights, sparsity, msAToken, vsDense, readBytesPerSecond}] of a token of a model of Llama-2-7B's shape with
           random weights
  model    [{weights, sparsity, msAToken, vsDense}] of the same as a tf.LayersModel through tfjs-node-gpu
  ops      [{shape, rows, sparsity, us, vsStock, vsOwnDense}] through tfjs-node-gpu: vsStock is over tf.matMul`;

const {values: options} = parseArgs({
  options: {json: {type: 'boolean', default: false}, help: {type: 'boolean', short: 'h', default: false}},
});

if (options.help) console.log(HELP);
else {
  const gpu = await requireGpu();
  process.exitCode = gpu === undefined ? 1 : await bench(gpu);
}

async function bench(gpu: UsableGpu): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-gpu-'));
  const alone: string[] = [];
  try {
    for (const [what, name] of [
      ['kernels alone (about 2 min)', 'sparsified-matmul-bench'],
      ['decoder alone (about 1 min)', 'decoder-bench'],
    ] as const) {
      console.error(`building and running the benchmark of the ${what}`);
      const program = buildProgram(name, folder, gpu);
      const {status, stdout} = spawnSync(program, options.json ? ['--json'] : [], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      if (status !== 0) return status ?? 1;
      alone.push(stdout);
    }
  } finally {
    rmSync(folder, {recursive: true, force: true});
  }
  if (!options.json) console.log(alone.join('\n'));
  console.error('through tfjs-node-gpu (about two minutes)');
  const {native} = await loadBackend({name: 'node-gpu'});
  if (native !== undefined && 'reason' in native) throw new Error(native.reason);
  const ops = measureOps();
  const model = await measureDecoding();
  if (options.json) {
    const {name: device, computeCapability} = gpu;
    const [kernels, decoding] = alone.map((text) => JSON.parse(text) as object);
    console.log(JSON.stringify({device, computeCapability, kernels, decoding, model, ops}, null, 2));
  } else {
    printOps(ops);
    printDecoding(model);
  }
  return 0;
}

function print(cells: readonly string[]): void {
  console.log(cells.map((cell) => cell.padStart(12)).join(' '));
}

function printDecoding(rows: readonly DecodingRow[]): void {
  print(['weights', 'sparsity', 'ms a token', 'tokens/s', 'vs dense']);
  for (const {weights, sparsity, msAToken, vsDense} of rows) {
    print([
      weights,
      sparsity.toFixed(3),
      msAToken.toFixed(3),
      (1000 / msAToken).toFixed(1),
      `${vsDense.toFixed(2)}x`,
    ]);
  }
}

function printOps(rows: readonly OpRow[]): void {
  print(['shape', 'rows', 'sparsity', 'us', 'vs matMul', 'vs own 0']);
  for (const {shape, rows: count, sparsity, us, vsStock, vsOwnDense} of rows) {
    const ratios = [`${vsStock.toFixed(2)}x`, `${vsOwnDense.toFixed(2)}x`];
    print([shape, String(count), sparsity.toFixed(1), us.toFixed(1), ...ratios]);
  }
}
