/**
 * @file `SparsifiedMatMul` with a packed kernel, for backends without a kernel of ours. Few rows where the backend is in
 * the host's memory: the loops in plain TypeScript. Else a block of columns is dequantized, the backend's dense matMul
 * multiplies it, and it is gone again, so that never much more than a block is in memory as float32.
 */
import * as tf from '@tensorflow/tfjs';
import {BLOCK_COLUMNS, wordsOf} from '../quantization/int4.js';
import {BYTES_PER_WORD} from '../quantization/int8.js';
import {activate, type FusedActivation} from './activations.js';
import {matrixShape, type CompressedMatrix} from './compressed-matrix.js';
import {isOnHost, readFloats, readInt4Matrix, readInt8Matrix} from './host-memory.js';
import {dequantizeInt4Matrix} from './int4-dequantize.js';
import {isInt4Matrix, type Int4Matrix} from './int4-kernels.js';
import {sparsifiedMatMulInt4Loops} from './int4-loops.js';
import {dequantizeColumns} from './int8-dequantize.js';
import type {Int8Matrix} from './int8-kernels.js';
import {sparsifiedMatMulInt8Loops} from './int8-loops.js';
import {maskActivations} from './mask.js';

/** Weights in a block: 8 MB of float32, and as much for each of the operations' few intermediate results. */
const BLOCK_WEIGHTS = 2 ** 21;

/** Up to this many rows of x the loops are faster than to dequantize. */
const MAX_LOOP_ROWS = 8;

export interface CompressedMatMulArgs {
  /** float32, [..., K], rank 1 or more. */
  readonly x: tf.Tensor;
  /** [K, N]; one that is INT8 has a scale a column. */
  readonly kernel: CompressedMatrix;
  /** float32, a scalar or [K]. */
  readonly threshold: tf.Tensor;
  /** float32, [N]. */
  readonly bias?: tf.Tensor1D;
  readonly activation: FusedActivation;
}

/** @returns float32, [..., N]; the caller disposes it. */
export function compressedMatMulFallback(args: CompressedMatMulArgs): tf.Tensor {
  const {x, kernel, threshold, bias, activation} = args;
  const [inputSize, units] = matrixShape(kernel);
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
    return activate(z, activation).reshape([...x.shape.slice(0, -1), units]);
  });
}

function byLoops({x, kernel, threshold, bias, activation}: CompressedMatMulArgs): tf.Tensor {
  const [inputSize, units] = matrixShape(kernel);
  const args = {
    x: readFloats(x),
    threshold: readFloats(threshold),
    bias: bias === undefined ? new Float32Array(0) : readFloats(bias),
    activation,
    inputSize,
  };
  // The kernel is read last: it may be a view.
  const output = isInt4Matrix(kernel)
    ? sparsifiedMatMulInt4Loops({...args, kernel: readInt4Matrix(kernel)})
    : sparsifiedMatMulInt8Loops({...args, kernel: readInt8Matrix(kernel)});
  return tf.tensor(output, [...x.shape.slice(0, -1), units]);
}

/** A block of columns: where it starts, and its weights [K, n], which the caller disposes. */
interface ColumnBlock {
  readonly start: number;
  readonly weights: tf.Tensor2D;
}

/** A matrix in blocks of columns. */
export function columnBlocks(kernel: CompressedMatrix): Generator<ColumnBlock> {
  return isInt4Matrix(kernel) ? int4Blocks(kernel) : int8Blocks(kernel);
}

function* int8Blocks(kernel: Int8Matrix): Generator<ColumnBlock> {
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

function* int4Blocks(kernel: Int4Matrix): Generator<ColumnBlock> {
  const [inputSize, units] = matrixShape(kernel);
  const most = Math.max(1, Math.floor(BLOCK_WEIGHTS / (inputSize * BLOCK_COLUMNS))) * BLOCK_COLUMNS;
  if (most >= units) {
    yield {start: 0, weights: dequantizeInt4Matrix(kernel)};
    return;
  }
  for (let start = 0, columns = 0; start < units; start += columns) {
    columns = Math.min(most, units - start);
    // The columns of a block lie without padding: none is made that would have some.
    if (wordsOf(columns) !== 2 * Math.ceil(columns / BLOCK_COLUMNS)) {
      columns = BLOCK_COLUMNS * (Math.ceil(columns / BLOCK_COLUMNS) - 1);
    }
    const cut = (tensor: tf.Tensor2D, first: number, width: number) =>
      tf.slice(tensor, [0, first], [-1, Math.min(width, tensor.shape[1] - first)]);
    const nibbles = (tensor: tf.Tensor2D) => cut(tensor, start / 8, wordsOf(columns));
    const halves = (tensor: tf.Tensor2D) => cut(tensor, start / 2, Math.ceil(columns / 2));
    const {values, scale, zeroPoint, minimum} = kernel;
    const weights = tf.tidy(() =>
      dequantizeInt4Matrix({
        ...kernel,
        columns,
        values: nibbles(values),
        scale: halves(scale),
        ...(zeroPoint === undefined ? {} : {zeroPoint: nibbles(zeroPoint)}),
        ...(minimum === undefined ? {} : {minimum: halves(minimum)}),
      }),
    );
    yield {start, weights};
  }
}
