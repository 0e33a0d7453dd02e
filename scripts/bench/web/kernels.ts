/** @file `SparsifiedMatMul` in a page against `tf.matMul` of TensorFlow.js's backend wasm, with one thread of ours and with two. */
import {existsSync, readFileSync} from 'node:fs';
import {inRoot} from '../../set-up/repository.mjs';
import {BenchBrowser} from './bench-page.js';
import type * as kernels from './in-page/kernels.js';

const ROWS = [1, 4, 8];
const SPARSITIES = [0, 0.5, 0.7];
const DTYPES = ['float32', 'int8'] as const;
const THREADS = [1, 2] as const;

export interface KernelRow {
  readonly shape: string;
  readonly dtype: 'float32' | 'int8';
  readonly rows: number;
  readonly sparsity: number;
  /** Of ours; TensorFlow.js takes as many as it takes. */
  readonly threads: number;
  readonly ownMs: number;
  readonly stockMs: number;
  /** `stockMs` over `ownMs`. */
  readonly vsStock: number;
}

export interface KernelFigures {
  readonly browser: string;
  /** Threads that TensorFlow.js took. */
  readonly stockThreads: number;
  readonly rows: readonly KernelRow[];
}

/**
 * Measures the kernels of these shapes, [K, N].
 *
 * @param seconds For each shape, dtype, number of rows and number of threads.
 */
export async function measureKernels(
  shapes: readonly (readonly [inputSize: number, units: number])[],
  seconds: number,
): Promise<KernelFigures> {
  const browser = await BenchBrowser.open({'/node_modules': inRoot('node_modules')});
  try {
    const rows: KernelRow[] = [];
    let stockThreads = 1;
    for (const [inputSize, units] of shapes) {
      console.error(`kernels: ${inputSize}x${units}`);
      for (const threads of THREADS) {
        for (const dtype of DTYPES) {
          // A page for each: the backend never gives back memory, and the large shape takes much of what there can be.
          const page = await browser.page<typeof kernels>('scripts/bench/web/in-page/kernels.ts');
          const started = await page.calls.start(threads);
          if (started.threads !== threads)
            throw new Error(`the kernels have ${started.threads} threads, not ${threads}`);
          ({stockThreads} = started);
          const times = await page.calls.measure({
            ...{inputSize, units, dtype, rows: ROWS, sparsities: SPARSITIES, seconds},
            cacheBytes: 4 * lastLevelCacheBytes(),
          });
          await page.close();
          for (const {rows: count, stockMs, ownMs} of times) {
            rows.push(
              ...SPARSITIES.map((sparsity, i) => ({
                ...{shape: `${inputSize}x${units}`, dtype, rows: count, sparsity, threads},
                ...{ownMs: ownMs[i], stockMs, vsStock: stockMs / ownMs[i]},
              })),
            );
          }
        }
      }
    }
    return {browser: await browser.version(), stockThreads, rows};
  } finally {
    await browser.close();
  }
}

function lastLevelCacheBytes(): number {
  const path = '/sys/devices/system/cpu/cpu0/cache/index3/size';
  const kilobytes = existsSync(path) ? Number.parseInt(readFileSync(path, 'utf8'), 10) : NaN;
  return (Number.isNaN(kilobytes) ? 65536 : kilobytes) * 1024;
}
