/**
 * @file One product of `sparsifiedMatMul` with INT4 weights on the current backend, held against the definition over dequantized
 * weights; in Node and in pages.
 */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import type {FusedActivation} from '../../../lib/kernels/activations.js';
import {SPARSIFIED_MATMUL_INT4} from '../../../lib/kernels/int4-kernels.js';
import {MAX_ROUNDED_WEIGHTS} from '../../../lib/kernels/int8-kernels.js';
import {sparsifiedMatMulReference} from '../../../lib/kernels/sparsified-matmul-definition.js';
import {sparsifiedMatMul} from '../../../lib/kernels/sparsified-matmul.js';
import {dequantizeInt4, type Int4Kind, type Int4Shape} from '../../../lib/quantization/int4.js';
import {normals} from '../normals.js';
import {int4Tensors, int4Values} from './int4-matrix.js';

export type Multiply = (...args: Parameters<typeof sparsifiedMatMul>) => tf.Tensor;

export interface Int4MatMulCase extends Int4Shape {
  kind: Int4Kind;
  /** Of x. */
  count: number;
  threshold?: number;
  activation?: FusedActivation;
  multiply?: Multiply;
}

/** Of so many rows of x the kernels of our own round x to 8 bits. */
const ROUNDED_ROWS = 16;

/** What they round together, at most, and what it may sum to in steps (lib/kernels/native/int4-loops.cc). */
const SEGMENT_ROWS = 32;
const LARGEST_INTEGER = 127;
const LARGEST_TOTAL = 2168;

/** Fails unless a product of seeded values with quantized weights is what the definition says. */
export function checkInt4MatMul(testCase: Int4MatMulCase): void {
  const {rows: inputSize, columns: units, groupSize, kind, count, threshold = 0.6} = testCase;
  const {activation = 'relu', multiply = sparsifiedMatMul} = testCase;
  const matrix = int4Values({rows: inputSize, columns: units, groupSize}, kind, 3);
  const kernel = dequantizeInt4(matrix);
  const x = normals(count * inputSize, 1);
  const bias = normals(units, 2);
  const expected = sparsifiedMatMulReference({
    ...{x, kernel, threshold, bias, rows: count, inputSize, units},
    activation,
  });
  const actual = tf.tidy(() =>
    multiply(tf.tensor2d(x, [count, inputSize]), int4Tensors(matrix), tf.scalar(threshold), {
      bias: tf.tensor1d(bias),
      activation,
    }).dataSync(),
  );
  expect(actual.length).to.equal(expected.length);
  const isLarge = inputSize * units > MAX_ROUNDED_WEIGHTS;
  const isRounded = isLarge && count <= ROUNDED_ROWS && multiply === sparsifiedMatMul && roundsInputs();
  for (let row = 0; row < count; row++) {
    const values = x.subarray(row * inputSize, (row + 1) * inputSize);
    const half = isRounded ? halfSteps(values, threshold, groupSize) : null;
    for (let n = 0; n < units; n++) {
      // Float32 summation in any order; a large kernel may leave out the weights' rounding, 2^-11 of each product, and round x.
      let [sum, rounding] = [0, 0];
      for (let k = 0; k < inputSize; k++) {
        if (Math.abs(values[k]) <= threshold) continue;
        sum += Math.abs(values[k] * kernel[k * units + n]);
        if (half !== null) rounding += half[Math.floor(k / groupSize)] * Math.abs(kernel[k * units + n]);
      }
      const limit = sum * (2 ** -23 * (inputSize + 4) + (isLarge ? 2 ** -11 : 0)) + 1.002 * rounding + 1e-6;
      const difference = actual[row * units + n] - expected[row * units + n];
      if (Math.abs(difference) <= limit * STEEPEST) continue;
      expect.fail(`row ${row}, unit ${n}: ${difference} exceeds ${limit}`);
    }
  }
}

/** The largest slope of an activation, gelu's and silu's. */
const STEEPEST = 1.13;

/** Half the largest step to which values of each group may be rounded. */
function halfSteps(values: Float32Array, threshold: number, groupSize: number): number[] {
  const steps: number[] = [];
  for (let first = 0; first < values.length; first += groupSize) {
    const kept = [...values.subarray(first, first + groupSize)].filter(
      (value) => Math.abs(value) > threshold,
    );
    const most = (side: number) =>
      kept
        .map((value) => Math.max(side * value, 0))
        .sort((a, b) => b - a)
        .slice(0, SEGMENT_ROWS)
        .reduce((sum, value) => sum + value, 0);
    const largest = kept.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    steps.push(Math.max(largest / LARGEST_INTEGER, Math.max(most(1), most(-1)) / LARGEST_TOTAL) / 2);
  }
  return steps;
}

/** Whether the backend has a kernel in C++. */
function roundsInputs(): boolean {
  const backend = tf.getBackend();
  return (
    ['tensorflow', 'wasm'].includes(backend) && tf.getKernel(SPARSIFIED_MATMUL_INT4, backend) !== undefined
  );
}
