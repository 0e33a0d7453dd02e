/**
 * @file `SparsifiedMatMul` in a page beside `tf.matMul` of TensorFlow.js's backend wasm, call by call in turns, on weights that
 * are rotated so that no cache holds them.
 */
import * as tf from '@tensorflow/tfjs';
import {getThreadsCount, setWasmPaths} from '@tensorflow/tfjs-backend-wasm';
import {median} from '../../../../lib/eval/latency.js';
import {SPARSIFIED_MATMUL_INT8} from '../../../../lib/kernels/int8-kernels.js';
import {SPARSIFIED_MATMUL} from '../../../../lib/kernels/sparsified-matmul-kernel.js';
import {dequantizeInt8, quantizeInt8, strideOf} from '../../../../lib/quantization/int8.js';
import {runKernel} from '../../../../lib/tfjs.js';
import {registerWasmKernels} from '../../../../lib/wasm.js';
import {uniformValues} from '../../measure/uniform-values.js';

/** What is timed as one call at the least: a page's clock ticks every 5 us. */
const LEAST_MS = 0.5;
const MIN_ROUNDS = 7;
/** Calls that follow each other at the least, as those of a model's layers do: a thread that slept has to be woken once for them. */
const LEAST_CALLS = 4;
/** Weights of a few bytes: no cache line of theirs is near anyway, and each has a packed copy in the backend. */
const MOST_COPIES = 256;
const MOST_BYTES = 600 * 2 ** 20;

export interface KernelSetting {
  readonly inputSize: number;
  readonly units: number;
  readonly dtype: 'float32' | 'int8';
  readonly rows: readonly number[];
  readonly sparsities: readonly number[];
  /** For all variants of one number of rows together. */
  readonly seconds: number;
  /** Bytes that weights of one size have together, at the least, so that no cache holds them. */
  readonly cacheBytes: number;
}

export interface KernelTimes {
  readonly rows: number;
  /** Of `tf.matMul`, ms; it multiplies by float32 weights always. */
  readonly stockMs: number;
  /** Of ours by sparsity, ms. */
  readonly ownMs: readonly number[];
}

/** In which a worker has started: a page starts none while it computes. */
const WORKERS_MS = 500;

/** @returns Threads of ours, which have started, and those that TensorFlow.js has taken by itself. */
export async function start(threads: number): Promise<{threads: number; stockThreads: number}> {
  setWasmPaths('/node_modules/@tensorflow/tfjs-backend-wasm/dist/');
  if (!(await tf.setBackend('wasm'))) throw new Error('backend wasm cannot be used here');
  await tf.ready();
  const registered = await registerWasmKernels({threads});
  tf.tidy(() => {
    const [x, kernel] = [tf.ones([1, 1]), tf.ones([1, 1])];
    runKernel(SPARSIFIED_MATMUL, {x, kernel, threshold: tf.scalar(0)}, {activation: 'linear'});
  });
  await new Promise((resolve) => setTimeout(resolve, WORKERS_MS));
  return {threads: registered.threads, stockThreads: getThreadsCount()};
}

/** Medians of one shape, for each number of rows. */
export function measure(setting: KernelSetting): KernelTimes[] {
  const {inputSize, units, dtype, rows} = setting;
  const values = uniformValues(inputSize * units, 1);
  const made: tf.Tensor[] = [];
  const keep = <T extends tf.Tensor>(tensor: T): T => {
    made.push(tensor);
    return tensor;
  };
  const copies = (bytes: number) =>
    Math.max(2, Math.min(MOST_COPIES, Math.ceil(setting.cacheBytes / bytes), Math.floor(MOST_BYTES / bytes)));
  try {
    const shape = {rows: inputSize, columns: units, channels: 'columns'} as const;
    const matrix = dtype === 'int8' ? quantizeInt8(values, shape, 'int8_asym') : null;
    const floats = matrix === null ? values : dequantizeInt8(matrix);
    const float = Array.from({length: copies(floats.byteLength)}, () =>
      keep(tf.tensor2d(floats.slice(), [inputSize, units])),
    );
    const int8 =
      matrix === null
        ? []
        : Array.from({length: copies(matrix.values.byteLength)}, () => ({
            values: keep(
              tf.tensor2d(
                new Int32Array(matrix.values.slice().buffer),
                [inputSize, strideOf(units) / 4],
                'int32',
              ),
            ),
            scale: keep(tf.tensor1d(matrix.scale)),
            zeroPoint: keep(tf.tensor1d(matrix.zeroPoint)),
          }));
    return rows.map((count) =>
      timed(setting, count, float.length, {
        stock: (x, turn) => tf.matMul(x, float[turn % float.length]),
        own: (x, turn, threshold) =>
          matrix === null
            ? runKernel(
                SPARSIFIED_MATMUL,
                {x, kernel: float[turn % float.length], threshold},
                {activation: 'linear'},
              )
            : runKernel(
                SPARSIFIED_MATMUL_INT8,
                {x, ...int8[turn % int8.length], threshold},
                {activation: 'linear'},
              ),
      }),
    );
  } finally {
    tf.dispose(made);
  }
}

interface Variants {
  readonly stock: (x: tf.Tensor2D, turn: number) => tf.Tensor;
  readonly own: (x: tf.Tensor2D, turn: number, threshold: tf.Scalar) => tf.Tensor;
}

function timed(
  {inputSize, sparsities, seconds}: KernelSetting,
  rows: number,
  weights: number,
  {stock, own}: Variants,
): KernelTimes {
  // Uniform in [-1, 1): the share s of the values is at most s in magnitude.
  const xs = Array.from({length: 16}, (_, i) =>
    tf.tensor2d(uniformValues(rows * inputSize, 1000 + i), [rows, inputSize]),
  );
  const thresholds = sparsities.map((sparsity) => tf.scalar(sparsity === 0 ? -Infinity : sparsity));
  const variants = [
    stock,
    ...thresholds.map((threshold) => (x: tf.Tensor2D, turn: number) => own(x, turn, threshold)),
  ];
  let turn = 0;
  const call = (variant: number, together: number): number => {
    const start = performance.now();
    for (let i = 0; i < together; i++) {
      turn++;
      variants[variant](xs[turn % xs.length], turn).dispose();
    }
    return (performance.now() - start) / together;
  };
  try {
    // TensorFlow.js packs a weight at its first use.
    call(0, weights);
    const together = variants.map((_, variant) => {
      call(variant, 1);
      return Math.max(LEAST_CALLS, Math.ceil(LEAST_MS / Math.max(1e-4, call(variant, 2))));
    });
    const times: number[][] = variants.map(() => []);
    const start = performance.now();
    for (let round = 0; round < MIN_ROUNDS || performance.now() - start < 1000 * seconds; round++) {
      for (let i = 0; i < variants.length; i++) {
        const variant = (i + round) % variants.length;
        times[variant].push(call(variant, together[variant]));
      }
    }
    const [stockMs, ...ownMs] = times.map(median);
    return {rows, stockMs, ownMs};
  } finally {
    tf.dispose([xs, thresholds]);
  }
}
