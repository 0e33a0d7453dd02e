/** @file The tables of the figures in a browser. */
import type {DecodeRow, PromptRow} from './decoding.js';
import type {LoadRow, MemoryRow} from './fresh-pages.js';
import type {KernelFigures, KernelRow} from './kernels.js';
import type {NodeRow} from './node.js';

/** What was measured; what was not asked for is not there. */
export interface WebFigures {
  decode?: readonly DecodeRow[];
  prompt?: readonly PromptRow[];
  kernels?: Omit<KernelFigures, 'browser'>;
  node?: readonly NodeRow[];
  memory?: readonly MemoryRow[];
  load?: readonly LoadRow[];
}

/** The figures, and where they were measured. */
export interface WebReport extends WebFigures {
  readonly machine: {
    readonly processor: string;
    readonly cores: number;
    readonly node: string;
    browser?: string;
  };
  readonly missing: readonly {readonly name: string; readonly reason: string}[];
}

/** Where the figures were measured, and what is missing among them. */
export function printMachine({machine, missing}: WebReport): void {
  for (const {name, reason} of missing) console.log(`without ${name}: ${reason}`);
  console.log(JSON.stringify(machine));
}

export function printFigures({decode, prompt, kernels, node, memory, load}: WebFigures): void {
  if (decode !== undefined) {
    print('SmolLM2-135M in a page, decoding at a context of 64', [
      ['side', 'threads', 'tokens/s', 'vs wllama', 'vs onnxruntime-web', 'vs own dense'],
      ...decode.map(({side, threads, tokensPerSecond, vsWllama, vsOnnxruntime, vsOwnDense}) => [
        ...[side, String(threads), tokensPerSecond.toFixed(1)],
        ...[times(vsWllama), times(vsOnnxruntime), times(vsOwnDense)],
      ]),
    ]);
    console.log(
      'ratios are to the fastest of that peer with as many threads or fewer; the step of onnxruntime-web is without embedding,\n' +
        'sampling and the growth of the cache, which is in its favour\n',
    );
  }
  if (prompt !== undefined) {
    print('a prompt of 256 tokens', [
      ['side', 'threads', 'tokens/s', 'vs wllama'],
      ...prompt.map(({side, threads, tokensPerSecond, vsWllama}) => [
        ...[side, String(threads), tokensPerSecond.toFixed(1), times(vsWllama)],
      ]),
    ]);
  }
  if (kernels !== undefined) printKernels(kernels);
  if (node !== undefined) {
    print('Node on backend wasm, 2 threads, decoding', [
      ['side', 'tokens/s', 'vs the layers'],
      ...node.map(({side, tokensPerSecond, vsLayers}) => [side, tokensPerSecond.toFixed(1), times(vsLayers)]),
    ]);
  }
  if (memory !== undefined && memory.length > 0) {
    print('memory of the renderer after decoding, MiB', [
      ['side', 'private', 'resident'],
      ...memory.map(({side, privateBytes, residentBytes}) => [
        side,
        mebibytes(privateBytes),
        mebibytes(residentBytes),
      ]),
    ]);
  }
  if (memory?.length === 0)
    console.log('memory of the renderer: this system has no /proc/PID/smaps_rollup\n');
  if (load !== undefined) {
    print('from the call to the first token, the model from the cache of the browser', [
      ['side', 's', 'vs wllama'],
      ...load.map(({side, firstTokenMs, vsWllama}) => [
        side,
        (firstTokenMs / 1000).toFixed(2),
        times(vsWllama),
      ]),
    ]);
  }
}

/** One line a shape, dtype and number of rows: the ratios by threads and sparsity. */
function printKernels({stockThreads, rows}: Omit<KernelFigures, 'browser'>): void {
  const columns = [...new Set(rows.map(columnOf))];
  const lines = [...new Set(rows.map(lineOf))];
  print(`SparsifiedMatMul in a page, against tf.matMul (${stockThreads} of its threads)`, [
    ['kernel [K, N]', 'weights', 'rows', ...columns],
    ...lines.map((line) => [
      ...line.split(' '),
      ...columns.map((column) =>
        times(rows.find((row) => lineOf(row) === line && columnOf(row) === column)?.vsStock ?? null),
      ),
    ]),
  ]);
  const {
    shape,
    dtype,
    rows: count,
    sparsity,
    threads,
    vsStock,
  } = rows.reduce((least, row) => (row.vsStock < least.vsStock ? row : least));
  console.log(
    `the smallest ratio: ${times(vsStock)}, ${shape} in ${dtype}, rows: ${count}, ${sparsity * 100} %, threads: ${threads}\n`,
  );
}

function lineOf({shape, dtype, rows}: KernelRow): string {
  return `${shape} ${dtype} ${rows}`;
}

function columnOf({threads, sparsity}: KernelRow): string {
  return `${threads === 1 ? '1 thread' : `${threads} threads`}: ${sparsity * 100} %`;
}

function times(ratio: number | null): string {
  return ratio === null ? '' : `${ratio.toFixed(2)}x`;
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}

/** The first column to the left, the others to the right. */
function print(title: string, cells: readonly (readonly string[])[]): void {
  const widths = cells[0].map((_, column) => Math.max(...cells.map((row) => row[column].length)));
  console.log(`${title}\n`);
  for (const row of cells)
    console.log(
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column])))
        .join('  ')
        .trimEnd(),
    );
  console.log('');
}
