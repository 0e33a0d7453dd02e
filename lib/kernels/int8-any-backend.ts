/**
 * @file `SparsifiedMatMul` with an INT8 kernel, for backends without a kernel of ours. Few rows where the backend is in
 * the host's memory: the loops in plain TypeScript. Else a block of columns is dequantized, the backend's dense matMul
 * multiplies it, and it is gone again, so that never much more than a block is in memory as float32.
 */
import * as tf from '@tensorflow/tfjs';
import {BYTES_PER_WORD} from '../quantization/int8.js';
import {activate, type FusedActivation} from './activations.js';
import type {Int8Matrix} from './int8-kernels.js';
import {dequantizeColumns} from './int8-dequantize.js';
import {isOnHost, readFloats, readInt8Matrix} from './int8-host-memory.js';
import {sparsifiedMatMulInt8Loops} from './int8-loops.js';
import {maskActivations} from './mask.js';

/** Weights in a block: 8 MB of float32, and as much for each of the operations' few intermediate results. */
const BLOCK_WEIGHTS = 2 ** 21;

/** Up to this many rows of x the loops are faster than to dequantize. */
const MAX_LOOP_ROWS = 8;

export interface Int8FallbackArgs {
  /** float32, [..., K], rank 1 or more. */
  readonly x: tf.Tensor;
  /** [K, N], a scale a column. */
  readonly kernel: Int8Matrix;
  /** float32, a scalar or [K]. */
  readonly threshold: tf.Tensor;
  /** float32, [N]. */
  readonly bias?: tf.Tensor1D;
  readonly activation: FusedActivation;
}

/** @returns float32, [..., N]; the caller disposes it. */
export function sparsifiedMatMulInt8Fallback(args: Int8FallbackArgs): tf.Tensor {
  const {x, kernel, threshold, bias, activation} = args;
  const inputSize = kernel.values.shape[0];
  // Stryker disable next-line all: both ways give the same values, and differ in time
  if (isOnHost() && x.size <= MAX_LOOP_ROWS * inputSize) return byLoops(args);
  return tf.tidy(() => {
    const masked = tf.reshape<tf.Rank.R2>(maskActivations(x, threshold), [-1, inputSize]); // [rows, K]
    const products: tf.Tensor2D[] = [];
    for (const {weights} of columnBlocks(kernel)) {
      products.push(tf.matMul(masked, weights)); // [rows, K] x [K, n]
      weights.dispose();
    }
    // Stryker disable next-line all: concatenating one tensor gives its values
    const product = products.length === 1 ? products[0] : tf.concat(products, 1); // [rows, N]
    const z = bias === undefined ? product : tf.add(product, bias);
    return activate(z, activation).reshape([...x.shape.slice(0, -1), kernel.scale.size]);
  });
}

function byLoops({x, kernel, threshold, bias, activation}: Int8FallbackArgs): tf.Tensor {
  const output = sparsifiedMatMulInt8Loops({
    x: readFloats(x),
    threshold: readFloats(threshold),
    bias: bias === undefined ? new Float32Array(0) : readFloats(bias),
    kernel: readInt8Matrix(kernel), // last: it may be a view
    activation,
    inputSize: kernel.values.shape[0],
  });
  return tf.tensor(output, [...x.shape.slice(0, -1), kernel.scale.size]);
}

/** The matrix in blocks of whole words of columns: where each starts, and its weights [K, n], which the caller disposes. */
export function* columnBlocks(kernel: Int8Matrix): Generator<{start: number; weights: tf.Tensor2D}> {
  const [inputSize, words] = kernel.values.shape;
  const units = kernel.scale.size;
  const wordsPerBlock = Math.max(1, Math.floor(BLOCK_WEIGHTS / (inputSize * BYTES_PER_WORD)));
  for (let word = 0; word < words; word += wordsPerBlock) {
    const start = word * BYTES_PER_WORD;
    const count = Math.min(wordsPerBlock, words - word);
    const columns = Math.min(count * BYTES_PER_WORD, units - start);
    const weights = tf.tidy(() =>
      dequantizeColumns({
        values: tf.slice(kernel.values, [0, word], [inputSize, count]),
        scale: tf.slice(kernel.scale, start, columns),
        zeroPoint: tf.slice(kernel.zeroPoint, start, columns),
      }),
    );
    yield {start, weights};
  }
}
