/**
 * @file One product of `sparsifiedMatMul` with INT8 weights on the current backend, held against the definition over dequantized
 * weights; in Node and in pages.
 */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import type {FusedActivation} from '../../../lib/kernels/activations.js';
import {
  MAX_ROUNDED_WEIGHTS,
  SPARSIFIED_MATMUL_INT8,
  type Int8Matrix,
} from '../../../lib/kernels/int8-kernels.js';
import {sparsifiedMatMulReference} from '../../../lib/kernels/sparsified-matmul-definition.js';
import {sparsifiedMatMul} from '../../../lib/kernels/sparsified-matmul.js';
import {
  dequantizeInt8,
  quantizeInt8,
  type Int8Mode,
  type Int8Values,
  type MatrixShape,
} from '../../../lib/quantization/int8.js';
import {seededRandom} from '../../../lib/stats/seeded-random.js';
import {normals} from '../normals.js';

export interface Int8MatMulCase {
  rows: number;
  inputSize: number;
  units: number;
  sparsity: number;
  perInput?: boolean;
  bias?: boolean;
  activation?: FusedActivation;
  mode?: Int8Mode;
  /** Of the weights; small ones are subnormal in float16. */
  scale?: number;
}

export type Multiply = (...args: Parameters<typeof sparsifiedMatMul>) => tf.Tensor;

/** As the layers hold a quantized matrix. In a tidy. */
export function tensorsOf({values, rows, stride, scale, zeroPoint}: Int8Values): Int8Matrix {
  return {
    values: tf.tensor2d(new Int32Array(values.buffer), [rows, stride / 4], 'int32'),
    scale: tf.tensor1d(scale),
    zeroPoint: tf.tensor1d(zeroPoint),
  };
}

/** Seeded weights of any magnitude up to a few `scale`. */
export function quantized(shape: MatrixShape, seed: number, scale: number, mode: Int8Mode): Int8Values {
  const uniform = seededRandom(seed);
  const weights = normals(shape.rows * shape.columns, seed, scale).map((w) => w + (uniform() - 0.5) * scale);
  return quantizeInt8(weights, shape, mode);
}

/** Fails unless a product of seeded values with quantized weights is what the definition says. */
export function checkInt8MatMul(
  testCase: Int8MatMulCase,
  seed = 1,
  multiply: Multiply = sparsifiedMatMul,
): void {
  const {rows, inputSize, units, sparsity, perInput = false, bias = false} = testCase;
  const {activation = 'linear', mode = 'int8_asym', scale = 0.1} = testCase;
  const x = normals(rows * inputSize, seed);
  const matrix = quantized({rows: inputSize, columns: units, channels: 'columns'}, seed + 1, scale, mode);
  const kernel = dequantizeInt8(matrix);
  const biasValues = bias ? normals(units, seed + 2) : undefined;
  const level =
    sparsity === 0 ? -Infinity : [...x.map(Math.abs).sort()][Math.floor(sparsity * (x.length - 1))];
  const threshold = perInput
    ? Float32Array.from({length: inputSize}, (_, k) => level * (k % 3))
    : Float32Array.of(level);
  const multiplied = (weights: Float32Array) =>
    sparsifiedMatMulReference({
      x,
      kernel: weights,
      threshold: perInput ? threshold : threshold[0],
      bias: biasValues,
      activation,
      rows,
      inputSize,
      units,
    });
  const expected = multiplied(kernel);
  // Large kernels may leave out the weights' rounding to float16, for all of them or none.
  const isLarge = inputSize * units > MAX_ROUNDED_WEIGHTS;
  const unrounded = isLarge ? multiplied(unroundedWeights(matrix)) : expected;
  const actual = tf.tidy(() =>
    multiply(
      tf.tensor2d(x, [rows, inputSize]),
      tensorsOf(matrix),
      perInput ? tf.tensor1d(threshold) : tf.scalar(threshold[0]),
      {bias: biasValues && tf.tensor1d(biasValues), activation},
    ).dataSync(),
  );
  expect(actual.length).to.equal(expected.length);
  // Float32 summation in any order, and the activations' own 1e-6.
  const summation = 2 ** -23 * (inputSize + 4) * largest(x) * largest(kernel) + 1e-6;
  const rounding = isLarge && rows <= ROUNDED_ROWS && roundsInputs() ? largest(x) * 2 ** -12 : 0;
  const limits = absoluteSums(matrix).map((sum) => summation + rounding * sum);
  const isClose = (reference: Float64Array) =>
    reference.every((value, i) => Math.abs(actual[i] - value) <= limits[i % units]);
  if (isClose(unrounded)) return;
  expected.forEach((value, i) => expect(actual[i]).to.be.closeTo(value, limits[i % units]));
}

function largest(values: Float32Array): number {
  return values.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
}

/** So many rows skip rows of the kernel, of more the weights are made floats. */
const ROUNDED_ROWS = 16;

/** The kernel of backend wasm rounds a few rows of inputs to 16 bits, with an error of at most 2^-12 of their mean magnitude. */
function roundsInputs(): boolean {
  return tf.getBackend() === 'wasm' && tf.getKernel(SPARSIFIED_MATMUL_INT8, 'wasm') !== undefined;
}

/** What an error of 1 in all inputs makes of a column, where the steps are summed before the zero point is taken off. */
function absoluteSums({rows, columns, stride, values, scale}: Int8Values): number[] {
  return Array.from({length: columns}, (_, column) => {
    let sum = 0;
    for (let row = 0; row < rows; row++) sum += Math.abs(values[row * stride + column]);
    return sum * Math.abs(scale[column]);
  });
}

/** The products of scale and steps, exact in float32, of a matrix with a scale a column. */
function unroundedWeights({rows, columns, stride, values, scale, zeroPoint}: Int8Values): Float32Array {
  const at = (row: number, column: number) =>
    scale[column] * (values[row * stride + column] - zeroPoint[column]);
  return Float32Array.from({length: rows * columns}, (_, i) => at(Math.floor(i / columns), i % columns));
}
