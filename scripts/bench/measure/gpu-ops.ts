/**
 * @file Times `SparsifiedMatMul` through tfjs-node-gpu beside `tf.matMul`. Calls are enqueued without waiting, as layers
 * do, and a read of one element waits for all of them; weights rotate beyond the device's caches, and so do inputs with
 * their masks; variants take turns.
 */
import * as tf from '@tensorflow/tfjs';
import {median} from '../../../lib/eval/latency.js';
import {sparsifiedMatMul} from '../../../lib/kernels/sparsified-matmul.js';

const SHAPES = [
  [4096, 11008],
  [11008, 4096],
  [4096, 14336],
  [4096, 4096],
  [2048, 5632],
  [576, 1536],
  [1536, 576],
] as const;
const SPARSITIES = [0, 0.3, 0.5, 0.7, 0.9];
const CALLS = 200;
const ROUNDS = 11;
const ROTATED_BYTES = 2 ** 29;

export interface OpRow {
  readonly shape: string;
  readonly rows: number;
  readonly sparsity: number;
  /** Microseconds a call, median of the rounds. */
  readonly us: number;
  /** Time of tf.matMul over ours. */
  readonly vsStock: number;
  /** Time of ours with nothing masked over ours. */
  readonly vsOwnDense: number;
}

/** All shapes, 1 row; the large ones with 4 rows too. */
export function measureOps(): OpRow[] {
  return SHAPES.flatMap(([inputSize, units]) =>
    (inputSize * units > 4e7 ? [1, 4] : [1]).flatMap((rows) => measureShape(inputSize, units, rows)),
  );
}

function measureShape(inputSize: number, units: number, rows: number): OpRow[] {
  const copies = Math.max(4, Math.ceil(ROTATED_BYTES / (4 * inputSize * units)));
  const kernels = Array.from({length: copies}, (_, i) =>
    tf.tidy(() => tf.randomUniform<tf.Rank.R2>([inputSize, units], -1, 1, 'float32', i)),
  );
  // Uniform in [-1, 1): the share s of the values is at most s in magnitude.
  const xs = kernels.map((_, i) =>
    tf.randomUniform<tf.Rank.R2>([rows, inputSize], -1, 1, 'float32', 1000 + i),
  );
  const thresholds = SPARSITIES.map((sparsity) => tf.scalar(sparsity === 0 ? -Infinity : sparsity));
  const variants: ((i: number) => tf.Tensor)[] = [
    (i) => tf.matMul(xs[i], kernels[i]),
    ...thresholds.map((threshold) => (i: number) => sparsifiedMatMul(xs[i], kernels[i], threshold)),
  ];
  const times: number[][] = variants.map(() => []);
  for (let round = -1; round < ROUNDS; round++) {
    variants.forEach((call, variant) => {
      wait(call(0));
      const start = performance.now();
      for (let i = 0; i < CALLS - 1; i++) call(i % copies).dispose();
      wait(call((CALLS - 1) % copies));
      if (round >= 0) times[variant].push((1000 * (performance.now() - start)) / CALLS); // the first warms up
    });
  }
  tf.dispose([kernels, xs, thresholds]);
  const [stock, ...own] = times.map(median);
  return SPARSITIES.map((sparsity, j) => ({
    shape: `${inputSize}x${units}`,
    rows,
    sparsity,
    us: own[j],
    vsStock: stock / own[j],
    vsOwnDense: own[0] / own[j],
  }));
}

/** Until everything enqueued before is done; takes `y`. */
function wait(y: tf.Tensor): void {
  const element = tf.slice(y, [0, 0], [1, 1]);
  element.dataSync();
  tf.dispose([y, element]);
}
