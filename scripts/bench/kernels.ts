/**
 * @file Times of `SparsifiedMatMul` against the dense operations of the same backend, for the projections of known
 * language models or shapes of your choice.
 *
 * Usage: npm run bench -- kernels [--shape KxN,...] [--rows R,...] [--sparsity S,...] [--dtype D,...]
 *     [--backend tensorflow|cpu|wasm] [--threads T] [--seconds S] [--json]
 */
import {parseArgs} from 'node:util';
import {loadBackend} from '../../lib/backend/load.js';
import {registerSparsifiedMatMul} from '../../lib/kernels/sparsified-matmul.js';
import {BandwidthMeter} from './measure/bandwidth.js';
import {
  GROUP_SIZE,
  KERNEL_DTYPES,
  expectedSeconds,
  measureKernel,
  withKernels,
  type KernelRow,
} from './measure/kernel.js';
import {describeMachine} from './measure/machine.js';

/** Projections of SmolLM2-135M, TinyLlama-1.1B, Llama-2-7B and Llama-3-8B, [K, N]: FFN, then attention. */
const SHAPES =
  '576x1536,1536x576,576x576,576x192,2048x5632,5632x2048,2048x2048,2048x256,' +
  '4096x11008,11008x4096,4096x4096,4096x14336,14336x4096,4096x1024';

const USAGE =
  'Usage: npm run bench -- kernels [--shape KxN,...] [--rows R,...] [--sparsity S,...] [--dtype D,...] ' +
  '[--backend tensorflow|cpu|wasm] [--threads T] [--seconds S] [--json]';

const HELP = `${USAGE}

Shapes are inputs x units of a layer, by default those of SmolLM2-135M, TinyLlama-1.1B, Llama-2-7B and Llama-3-8B;
rows (1,2,4,8,32,256) those of the input; sparsity (0,0.3,0.5,0.7) the share of the input that is masked. Each shape
with each number of rows is measured for about so many seconds (3).

dtype (float32) that of the weights that our kernel reads, one or several of float32, int8 and int4 (asymmetric, groups of
${GROUP_SIZE}), which take turns: int8,int4 compares both. All others read float32. threads (the cores) those of ours and of TensorFlow's.

"vs stock" is the time of tf.matMul over ours, "vs dense" that of the fastest dense op there is (TensorFlow's MatMul),
"vs own 0" that of our kernel of the same dtype with nothing masked, "vs float" and "vs int8" those of our float32 and INT8 kernels
with nothing masked, "min vs" the first of these and "vs float" of the least times instead of the medians, "bandwidth" the weights that had to be
read, a second, with the scales and zero points of INT4, over what this machine read a second meanwhile.

Output of --json, one object:
  machine  {processor, cores, threads, instructionSet, node, tensorflow, readGBs, readGBsBest}
  rows     [{backend, dtype, shape, rows, sparsity, medianMs, minMs, spreadMs, calls, vsStock, vsBestDense,
           vsOwnDense, vsOwnFloat32, vsOwnInt8, minVsStock, minVsOwnFloat32, bandwidthShare}]; spreadMs are the 10th and the 90th of 100 calls`;

async function main(): Promise<void> {
  const {values} = parseArgs({
    options: {
      shape: {type: 'string', default: SHAPES},
      rows: {type: 'string', default: '1,2,4,8,32,256'},
      sparsity: {type: 'string', default: '0,0.3,0.5,0.7'},
      dtype: {type: 'string', default: 'float32'},
      backend: {type: 'string', default: 'tensorflow'},
      threads: {type: 'string'},
      seconds: {type: 'string', default: '3'},
      json: {type: 'boolean', default: false},
      help: {type: 'boolean', short: 'h', default: false},
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const sparsities = numbers('sparsity', values.sparsity, (value) => value >= 0 && value <= 1);
  const rowCounts = numbers('rows', values.rows, (value) => Number.isInteger(value) && value >= 1);
  const [seconds] = numbers('seconds', values.seconds, (value) => value > 0);
  const dtypes = values.dtype.split(',').map((name) => {
    const dtype = KERNEL_DTYPES.find((known) => known === name);
    if (dtype === undefined)
      throw new Error(`--dtype has "${name}"; it must be of ${KERNEL_DTYPES.join(', ')}`);
    return dtype;
  });
  if (values.threads !== undefined) {
    const [threads] = numbers('threads', values.threads, (value) => Number.isInteger(value) && value >= 1);
    process.env.SPARSIFY_NUM_THREADS = process.env.TF_NUM_INTRAOP_THREADS = String(threads);
  }
  const shapes = values.shape.split(',').map((shape) => {
    const match = /^([1-9]\d*)x([1-9]\d*)$/.exec(shape);
    if (match === null) throw new Error(`--shape has "${shape}"; write inputs x units as in 4096x11008`);
    return {inputSize: Number(match[1]), units: Number(match[2])};
  });

  await prepareBackend(values.backend);
  const plan = shapes.map((shape) => ({
    ...shape,
    settings: rowCounts.map((rows) => ({...shape, rows, sparsities, dtypes, seconds})),
  }));
  const estimate = new Estimate(plan.map(({settings}) => sum(settings.map(expectedSeconds))));
  const meter = new BandwidthMeter();
  const all: KernelRow[] = [];
  for (const [i, {inputSize, units, settings}] of plan.entries()) {
    console.error(`${inputSize}x${units}, shape ${i + 1} of ${plan.length}, ${estimate.left(i)}`);
    await withKernels(inputSize, units, dtypes, async (kernels) => {
      for (const setting of settings) {
        const rows = await measureKernel(setting, kernels, meter);
        all.push(...rows);
        if (!values.json) printRows(rows);
      }
    });
  }
  const machine = describeMachine(meter);
  console.log(values.json ? JSON.stringify({machine, rows: all}, null, 2) : `\n${JSON.stringify(machine)}`);
}

function numbers(option: string, text: string, allowed: (value: number) => boolean): number[] {
  return text.split(',').map((part) => {
    const value = Number(part);
    if (part.trim() === '' || !allowed(value)) throw new Error(`--${option} has "${part}"; ${USAGE}`);
    return value;
  });
}

async function prepareBackend(backend: string): Promise<void> {
  const names: Readonly<Record<string, string>> = {tensorflow: 'node', cpu: 'cpu', wasm: 'wasm'};
  const name = names[backend];
  if (name === undefined) throw new Error(`--backend is "${backend}"; it must be tensorflow, cpu or wasm`);
  const {native} = await loadBackend({name});
  registerSparsifiedMatMul();
  if (native !== undefined && !('path' in native)) {
    console.error(`without the native kernels: ${native.reason}`);
  }
}

/** What is left of the time that the parts of the work need, corrected by how long the first ones took. */
class Estimate {
  private readonly start = performance.now();
  constructor(private readonly expected: readonly number[]) {}

  left(done: number): string {
    const before = sum(this.expected.slice(0, done));
    const factor = done === 0 ? 1 : (performance.now() - this.start) / 1000 / before;
    const seconds = factor * sum(this.expected.slice(done));
    return seconds < 100 ? `about ${Math.ceil(seconds)} s left` : `about ${Math.ceil(seconds / 60)} min left`;
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

let headed = false;

function printRows(rows: readonly KernelRow[]): void {
  const columns = [
    'shape',
    'weights',
    'rows',
    'sparsity',
    'median ms',
    'spread ms',
    'vs stock',
    'vs dense',
    'vs own 0',
    'vs float',
    'vs int8',
    'min vs',
    'bandwidth',
  ];
  const widths = [12, 8, 5, 9, 10, 19, 9, 9, 9, 9, 9, 15, 10];
  const ratio = (value: number | null) => (value === null ? '-' : `${value.toFixed(2)}x`);
  const print = (cells: readonly string[]) =>
    console.log(cells.map((cell, i) => cell.padStart(widths[i])).join(' '));
  if (!headed) print(columns);
  headed = true;
  for (const row of rows) {
    print([
      row.shape,
      row.dtype,
      String(row.rows),
      String(row.sparsity),
      row.medianMs.toFixed(3),
      row.spreadMs.map((value) => value.toFixed(3)).join(' - '),
      ratio(row.vsStock),
      ratio(row.vsBestDense),
      ratio(row.vsOwnDense),
      ratio(row.vsOwnFloat32),
      ratio(row.vsOwnInt8),
      `${ratio(row.minVsStock)} ${ratio(row.minVsOwnFloat32)}`,
      row.bandwidthShare === null ? '-' : `${Math.round(row.bandwidthShare * 100)} %`,
    ]);
  }
}

await main();
