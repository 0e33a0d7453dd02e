/**
 * @file Times `SparsifiedMatMul` beside the dense operations of the same backend. Weights, inputs and with them the masks
 * rotate beyond the last-level cache, calls of all variants take turns, and the read bandwidth of the machine is
 * measured in between: a figure from a disturbed minute is disturbed in all columns alike.
 *
 * Usage: npm run bench -- kernels [--shape KxN,...] [--rows R,...] [--sparsity S,...] [--backend tensorflow|cpu|wasm]
 *     [--seconds S] [--json]
 */
import {existsSync, readFileSync} from 'node:fs';
import {cpus} from 'node:os';
import {parseArgs} from 'node:util';
import * as tf from '@tensorflow/tfjs';
import {loadBackend} from '../../lib/backend/load.js';
import {loadNativeKernels, nativeKernels} from '../../lib/backend/native.js';
import {SPARSIFIED_MATMUL} from '../../lib/kernels/contract.js';
import {sparsifiedMatMulFallback} from '../../lib/kernels/fallback.js';
import {registerSparsifiedMatMul} from '../../lib/kernels/sparsified-matmul.js';
import {runKernel} from '../../lib/tfjs.js';
import {packageFolderOf} from '../provision/index.mjs';
import {provisionNative} from '../provision/native.mjs';

/** Projections of SmolLM2-135M, TinyLlama-1.1B, Llama-2-7B and Llama-3-8B, [K, N]. */
const SHAPES =
  '576x1536,1536x576,576x576,576x192,2048x5632,5632x2048,2048x2048,2048x256,' +
  '4096x11008,11008x4096,4096x4096,4096x14336,14336x4096,4096x1024';

const USAGE =
  'Usage: npm run bench -- kernels [--shape KxN,...] [--rows R,...] [--sparsity S,...] ' +
  '[--backend tensorflow|cpu|wasm] [--seconds S] [--json]';

/** Fewer calls of each variant than this say nothing; a slow shape takes longer than `--seconds` instead. */
const MIN_ROUNDS = 7;
/** One reading of memory a round. */
const BANDWIDTH_BYTES = 2 ** 26;
const MAX_WEIGHT_BYTES = 2 ** 30;

interface Row {
  readonly backend: string;
  readonly dtype: 'float32';
  readonly shape: string;
  readonly rows: number;
  /** Share of x that is masked. */
  readonly sparsity: number;
  readonly medianMs: number;
  readonly minMs: number;
  /** 10 % of the calls took less than the first, 10 % more than the second. */
  readonly spreadMs: readonly [number, number];
  readonly calls: number;
  /** Time of tf.matMul over ours, medians. */
  readonly vsStock: number;
  /** Time of the fastest dense operation there is, on tensorflow the op `MatMul`, over ours. */
  readonly vsBestDense: number;
  /** Time of our kernel with nothing masked over ours; null if sparsity 0 was not asked for. */
  readonly vsOwnDense: number | null;
  /** Weights that had to be read, a second, over the bandwidth measured meanwhile; null without the native kernels. */
  readonly bandwidthShare: number | null;
}

interface Setting {
  readonly inputSize: number;
  readonly units: number;
  readonly rows: number;
  readonly sparsities: readonly number[];
  readonly seconds: number;
}

/** Reads memory that no cache holds: another part of the buffer each time. */
class BandwidthMeter {
  readonly samples: number[] = [];
  private readonly buffer = new Float32Array((4 * BANDWIDTH_BYTES) / 4).fill(1);
  private part = 0;

  measure(): void {
    const native = nativeKernels();
    if (native === undefined) return;
    const length = BANDWIDTH_BYTES / 4;
    this.part = (this.part + 1) % 4;
    this.samples.push(
      native.readBandwidth(this.buffer.subarray(this.part * length, (this.part + 1) * length)),
    );
  }
}

async function main(): Promise<void> {
  const {values} = parseArgs({
    options: {
      shape: {type: 'string', default: SHAPES},
      rows: {type: 'string', default: '1,2,4,8,32,256'},
      sparsity: {type: 'string', default: '0,0.3,0.5,0.7'},
      backend: {type: 'string', default: 'tensorflow'},
      seconds: {type: 'string', default: '3'},
      json: {type: 'boolean', default: false},
      help: {type: 'boolean', short: 'h', default: false},
    },
  });
  if (values.help) return console.log(USAGE);
  const sparsities = numbers('sparsity', values.sparsity, (value) => value >= 0 && value <= 1);
  const rowCounts = numbers('rows', values.rows, (value) => Number.isInteger(value) && value >= 1);
  const [seconds] = numbers('seconds', values.seconds, (value) => value > 0);
  const shapes = values.shape.split(',').map((shape) => {
    const match = /^([1-9]\d*)x([1-9]\d*)$/.exec(shape);
    if (match === null) throw new Error(`--shape has "${shape}"; write inputs x units as in 4096x11008`);
    return [Number(match[1]), Number(match[2])];
  });

  await prepareBackend(values.backend);
  const meter = new BandwidthMeter();
  const rows: Row[] = [];
  for (const [inputSize, units] of shapes) {
    for (const rowCount of rowCounts) {
      rows.push(...(await measure({inputSize, units, rows: rowCount, sparsities, seconds}, meter)));
      if (!values.json) printRows(rows.splice(0));
    }
  }
  const machine = describeMachine(meter);
  console.log(values.json ? JSON.stringify({machine, rows}, null, 2) : `\n${JSON.stringify(machine)}`);
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
  await loadBackend({name});
  registerSparsifiedMatMul();
  if (backend !== 'tensorflow') return;
  const tfjsNodeDir = packageFolderOf('@tensorflow/tfjs-node', [import.meta.dirname]) ?? '';
  const native = await provisionNative({tfjsNodeDir, log: (line) => console.error(line)});
  if ('path' in native) loadNativeKernels(native.path);
  else console.error(`without the native kernels: ${native.reason}`);
}

async function measure(setting: Setting, meter: BandwidthMeter): Promise<Row[]> {
  const {inputSize, units, rows, sparsities, seconds} = setting;
  const copies = copiesBeyondCache(inputSize * units * 4);
  const kernels: tf.Tensor2D[] = [];
  const xs: tf.Tensor2D[] = [];
  for (let i = 0; i < copies; i++) {
    kernels.push(tf.randomUniform([inputSize, units], -1, 1, 'float32', i + 1));
    // Uniform in [-1, 1): the share s of the values is at most s in magnitude.
    xs.push(tf.randomUniform([rows, inputSize], -1, 1, 'float32', 1000 + i));
  }
  const thresholds = sparsities.map((sparsity) => tf.scalar(sparsity === 0 ? -Infinity : sparsity));
  const variants: ((i: number) => tf.Tensor)[] = [
    (i) => tf.matMul(xs[i], kernels[i]),
    (i) => bestDense(xs[i], kernels[i]),
    ...thresholds.map((threshold) => (i: number) => own(xs[i], kernels[i], threshold)),
  ];
  const times: number[][] = variants.map(() => []);
  const before = meter.samples.length;

  let next = 0;
  const call = async (variant: number): Promise<number> => {
    next = (next + 1) % copies;
    const start = performance.now();
    const y = variants[variant](next);
    if (tf.getBackend() !== 'tensorflow') await y.data();
    const took = performance.now() - start;
    y.dispose();
    return took;
  };
  for (let variant = 0; variant < variants.length; variant++) await call(variant);
  const end = performance.now() + seconds * 1000;
  for (let round = 0; round < MIN_ROUNDS || performance.now() < end; round++) {
    if (round % 4 === 0) meter.measure();
    for (let turn = 0; turn < variants.length; turn++) {
      const variant = (turn + round) % variants.length;
      times[variant].push(await call(variant));
    }
  }
  const bandwidth = median(meter.samples.slice(before));
  const [stock, dense, ...owns] = times.map(median);
  const best = Math.min(stock, dense);
  const ownDense = owns[sparsities.indexOf(0)];
  tf.dispose([kernels, xs, thresholds]);
  return sparsities.map((sparsity, j) => {
    const sorted = [...times[j + 2]].sort((a, b) => a - b);
    const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))];
    // What at least one row of x keeps.
    const readBytes = inputSize * units * 4 * (1 - sparsity ** rows);
    return {
      backend: tf.getBackend(),
      dtype: 'float32',
      shape: `${inputSize}x${units}`,
      rows,
      sparsity,
      medianMs: owns[j],
      minMs: sorted[0],
      spreadMs: [at(0.1), at(0.9)],
      calls: sorted.length,
      vsStock: stock / owns[j],
      vsBestDense: best / owns[j],
      vsOwnDense: ownDense === undefined ? null : ownDense / owns[j],
      bandwidthShare: Number.isNaN(bandwidth) ? null : readBytes / (owns[j] / 1000) / bandwidth,
    };
  });
}

/** How many weights of this size together exceed the last-level cache four times. */
function copiesBeyondCache(bytes: number): number {
  const copies = Math.max(2, Math.ceil((4 * lastLevelCacheBytes()) / bytes));
  return Math.max(2, Math.min(copies, Math.floor(MAX_WEIGHT_BYTES / bytes)));
}

function lastLevelCacheBytes(): number {
  const path = '/sys/devices/system/cpu/cpu0/cache/index3/size';
  const kilobytes = existsSync(path) ? Number.parseInt(readFileSync(path, 'utf8'), 10) : NaN;
  return (Number.isNaN(kilobytes) ? 65536 : kilobytes) * 1024;
}

function own(x: tf.Tensor2D, kernel: tf.Tensor2D, threshold: tf.Tensor): tf.Tensor {
  return tf.getKernel(SPARSIFIED_MATMUL, tf.getBackend()) === undefined
    ? sparsifiedMatMulFallback({x, kernel, threshold, activation: 'linear'})
    : runKernel(SPARSIFIED_MATMUL, {x, kernel, threshold}, {activation: 'linear'});
}

/** The op `MatMul` on tensorflow, where tf.matMul runs BatchMatMulV2. */
function bestDense(x: tf.Tensor2D, kernel: tf.Tensor2D): tf.Tensor {
  if (tf.getBackend() !== 'tensorflow') return tf.matMul(x, kernel);
  const backend = tf.backend() as unknown as {
    binding: Record<string, number>;
    executeSingleOutput(op: string, attrs: object[], inputs: tf.Tensor[]): tf.Tensor;
  };
  const {TF_ATTR_BOOL, TF_ATTR_TYPE, TF_FLOAT} = backend.binding;
  const attrs = [
    {name: 'transpose_a', type: TF_ATTR_BOOL, value: false},
    {name: 'transpose_b', type: TF_ATTR_BOOL, value: false},
    {name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT},
  ];
  return backend.executeSingleOutput('MatMul', attrs, [x, kernel]);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function describeMachine(meter: BandwidthMeter): object {
  const native = nativeKernels();
  const gigabytes = (bytes: number) => Math.round(bytes / 1e7) / 100;
  return {
    processor: cpus()[0]?.model ?? process.arch,
    cores: cpus().length,
    threads: native?.threads() ?? null,
    instructionSet: native?.instructionSet() ?? null,
    node: process.version,
    tensorflow: (tf.backend() as {binding?: {TF_Version: string}}).binding?.TF_Version ?? null,
    readGBs: native === undefined ? null : gigabytes(median(meter.samples)),
    readGBsBest: native === undefined ? null : gigabytes(Math.max(...meter.samples)),
  };
}

let headed = false;

function printRows(rows: readonly Row[]): void {
  const columns = [
    'shape',
    'rows',
    'sparsity',
    'median ms',
    'spread ms',
    'vs stock',
    'vs dense',
    'vs own 0',
    'bandwidth',
  ];
  const widths = [12, 5, 9, 10, 17, 9, 9, 9, 10];
  const print = (cells: readonly string[]) =>
    console.log(cells.map((cell, i) => cell.padStart(widths[i])).join(' '));
  if (!headed) print(columns);
  headed = true;
  for (const row of rows) {
    print([
      row.shape,
      String(row.rows),
      String(row.sparsity),
      row.medianMs.toFixed(3),
      row.spreadMs.map((value) => value.toFixed(3)).join(' - '),
      `${row.vsStock.toFixed(2)}x`,
      `${row.vsBestDense.toFixed(2)}x`,
      row.vsOwnDense === null ? '-' : `${row.vsOwnDense.toFixed(2)}x`,
      row.bandwidthShare === null ? '-' : `${Math.round(row.bandwidthShare * 100)} %`,
    ]);
  }
}

await main();
