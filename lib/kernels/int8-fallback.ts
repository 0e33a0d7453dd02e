/**
 * @file `SparsifiedMatMul` with an INT8 kernel, composed of stock operations: a block of columns is dequantized, the
 * backend's dense matMul multiplies it, and it is gone again, so that never much more than a block is in memory as
 * float32.
 */
import * as tf from '@tensorflow/tfjs';
import {BYTES_PER_WORD} from '../quantization/int8.js';
import {activate, type FusedActivation} from './activations.js';
import type {Int8Matrix} from './int8-contract.js';
import {dequantizeColumns} from './int8-dequantize.js';
import {maskActivations} from './mask.js';

/** Weights in a block: 8 MB of float32, and as much for each of the operations' few intermediate results. */
const BLOCK_WEIGHTS = 2 ** 21;

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
  return tf.tidy(() => {
    const inputSize = kernel.values.shape[0];
    const masked = tf.reshape<tf.Rank.R2>(maskActivations(x, threshold), [-1, inputSize]); // [rows, K]
    const products: tf.Tensor2D[] = [];
    for (const {weights} of columnBlocks(kernel)) {
      products.push(tf.matMul(masked, weights)); // [rows, K] x [K, n]
      weights.dispose();
    }
    const product = products.length === 1 ? products[0] : tf.concat(products, 1); // [rows, N]
    const z = bias === undefined ? product : tf.add(product, bias);
    return activate(z, activation).reshape([...x.shape.slice(0, -1), kernel.scale.size]);
  });
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
