/**
 * @file INT4 matrices as float32 tensors: by the backend's own kernel, in plain TypeScript where the backend is in the host's
 * memory, else composed of stock operations that are exact in float32, so that the result is the same everywhere.
 */
import * as tf from '@tensorflow/tfjs';
import {BLOCK_COLUMNS, SYMMETRIC_ZERO, dequantizeInt4} from '../quantization/int4.js';
import {runKernel} from '../tfjs.js';
import {attrsOf, tensorsOf} from './compressed-matrix.js';
import {isOnHost, readInt4Matrix} from './host-memory.js';
import {DEQUANTIZE_INT4, type Int4Attrs, type Int4Matrix} from './int4-kernels.js';
import {roundProductToFloat16, unpackFloat16, unpackNibbles} from './unpack-words.js';

/** @returns float32 [K, N]; the caller disposes it. */
export function dequantizeInt4Matrix(matrix: Int4Matrix): tf.Tensor2D {
  // Stryker disable next-line all: the kernel and the stock operations give the same values
  if (tf.getKernel(DEQUANTIZE_INT4, tf.getBackend()) !== undefined) {
    return runKernel(DEQUANTIZE_INT4, tensorsOf(matrix), attrsOf(matrix)) as tf.Tensor2D;
  }
  // Stryker disable next-line all: the loops and the stock operations give the same values
  if (isOnHost()) {
    const arrays = readInt4Matrix(matrix);
    return tf.tensor2d(dequantizeInt4(arrays), [arrays.rows, arrays.columns]);
  }
  return dequantizeInt4ByOperations(matrix);
}

/** As {@link dequantizeInt4Matrix}, by stock operations: for what computes on a device. */
export function dequantizeInt4ByOperations(matrix: Int4Matrix): tf.Tensor2D {
  return tf.tidy(() => dequantized(matrix));
}

/**
 * Some columns of a matrix, as rows: what an embedding looks up.
 *
 * @param columns int32 [n].
 * @returns float32 [n, K]; the caller disposes it.
 */
export function dequantizeInt4Columns(matrix: Int4Matrix, columns: tf.Tensor1D): tf.Tensor2D {
  return tf.tidy(() => {
    const {values, scale, zeroPoint, minimum, groupSize, kind} = matrix;
    const int = (value: number) => tf.scalar(value, 'int32');
    const count = columns.size;
    // The blocks of 16 columns that hold those asked for, and the words of two float16.
    const block = tf.floorDiv<tf.Tensor1D>(columns, int(BLOCK_COLUMNS));
    const words = tf.add<tf.Tensor2D>(
      tf.mul(block, int(2)).expandDims(1),
      tf.tensor2d([[0, 1]], [1, 2], 'int32'),
    );
    const half = tf.floorDiv<tf.Tensor1D>(columns, int(2));
    const inBlock = tf.sub<tf.Tensor1D>(columns, tf.mul(block, int(BLOCK_COLUMNS)));
    const inHalf = tf.sub<tf.Tensor1D>(columns, tf.mul(half, int(2)));
    const number = tf.range(0, count, 1, 'int32');
    const nibbles = (tensor: tf.Tensor2D) =>
      tf.gather(
        unpackNibbles(tf.gather(tensor, words.reshape<tf.Tensor1D>([2 * count]), 1)),
        tf.add<tf.Tensor1D>(tf.mul(number, int(BLOCK_COLUMNS)), inBlock),
        1,
      );
    const halves = (tensor: tf.Tensor2D) =>
      tf.gather(
        unpackFloat16(tf.gather(tensor, half, 1)),
        tf.add<tf.Tensor1D>(tf.mul(number, int(2)), inHalf),
        1,
      );
    const weights = weightsOf(nibbles(values), halves(scale), {
      groupSize,
      kind,
      zeroPoint: zeroPoint && nibbles(zeroPoint),
      minimum: minimum && halves(minimum),
    });
    return tf.transpose(weights);
  });
}

/** In a tidy. */
function dequantized({values, scale, zeroPoint, minimum, columns, groupSize, kind}: Int4Matrix): tf.Tensor2D {
  const words = 2 * Math.ceil(columns / BLOCK_COLUMNS); // rows may be padded
  const cut = (tensor: tf.Tensor2D) => tf.slice(tensor, [0, 0], [-1, columns]);
  const nibbles = (tensor: tf.Tensor2D) => cut(unpackNibbles(tf.slice(tensor, [0, 0], [-1, words])));
  const halves = (tensor: tf.Tensor2D) => cut(unpackFloat16(tensor));
  return weightsOf(nibbles(values), halves(scale), {
    groupSize,
    kind,
    zeroPoint: zeroPoint && nibbles(zeroPoint),
    minimum: minimum && halves(minimum),
  });
}

interface Offsets extends Omit<Int4Attrs, 'columns'> {
  /** float32 [G, n]. */
  readonly zeroPoint: tf.Tensor2D | undefined;
  readonly minimum: tf.Tensor2D | undefined;
}

/** The weights [K, n] of values [K, n] and scales [G, n], all float32. In a tidy. */
function weightsOf(
  q: tf.Tensor2D,
  scale: tf.Tensor2D,
  {groupSize, kind, zeroPoint, minimum}: Offsets,
): tf.Tensor2D {
  const [groups, columns] = scale.shape;
  const ofGroup = (tensor: tf.Tensor2D) => tf.reshape<tf.Rank.R3>(tensor, [groups, 1, columns]);
  const grouped = tf.reshape<tf.Rank.R3>(q, [groups, groupSize, columns]);
  if (kind === 'minimum') {
    return tf.add(tf.mul(grouped, ofGroup(scale)), ofGroup(minimum!)).reshape(q.shape);
  }
  const zero = zeroPoint === undefined ? tf.scalar(SYMMETRIC_ZERO) : ofGroup(zeroPoint);
  return roundProductToFloat16(tf.mul(tf.sub(grouped, zero), ofGroup(scale))).reshape(q.shape);
}
