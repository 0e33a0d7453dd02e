/** @file One product of `sparsifiedMatMul` on the current backend, held against the definition in plain loops; in Node and in pages. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import type {FusedActivation} from '../../../lib/kernels/activations.js';
import {sparsifiedMatMulReference} from '../../../lib/kernels/sparsified-matmul-definition.js';
import {sparsifiedMatMul} from '../../../lib/kernels/sparsified-matmul.js';
import {normals} from '../normals.js';

/** Sparsities and shapes, inputs by units, that every kernel is held against the definition at. */
export const SPARSITIES: readonly number[] = [0, 0.3, 0.5, 0.9, 1];
export const SHAPES: readonly (readonly [inputSize: number, units: number])[] = [
  [1, 1],
  [1, 7],
  [3, 1],
  [8, 16],
  [31, 33],
  [65, 130],
  [257, 96],
];
/** Rows of inputs: those that kernels have loops of their own for, and many. */
export const ROWS: readonly number[] = [1, 2, 8, 33];

export interface MatMulCase {
  rows: number;
  inputSize: number;
  units: number;
  sparsity: number;
  perInput?: boolean;
  bias?: boolean;
  activation?: FusedActivation;
}

/** Largest error that float32 summation of K products in any order may make, plus the activations' own 1e-6. */
function tolerance(x: Float32Array, kernel: Float32Array, {inputSize}: MatMulCase): number {
  const largest = (values: Float32Array) => values.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
  return 2 ** -23 * (inputSize + 4) * largest(x) * largest(kernel) + 1e-6;
}

/** Fails unless a product of seeded values is what the definition says. */
export function checkMatMul(testCase: MatMulCase, seed = 1): void {
  const {rows, inputSize, units, sparsity, perInput = false, bias = false, activation = 'linear'} = testCase;
  const x = normals(rows * inputSize, seed);
  const kernel = normals(inputSize * units, seed + 1, 1 / Math.sqrt(inputSize));
  const biasValues = bias ? normals(units, seed + 2) : undefined;
  const level = quantile(x, sparsity);
  const threshold = perInput
    ? Float32Array.from({length: inputSize}, (_, k) => level * (k % 3))
    : Float32Array.of(level);
  const expected = sparsifiedMatMulReference({
    x,
    kernel,
    threshold,
    ...(perInput ? {} : {threshold: threshold[0]}),
    bias: biasValues,
    activation,
    rows,
    inputSize,
    units,
  });
  const actual = tf.tidy(() =>
    sparsifiedMatMul(
      tf.tensor2d(x, [rows, inputSize]),
      tf.tensor2d(kernel, [inputSize, units]),
      perInput ? tf.tensor1d(threshold) : tf.scalar(threshold[0]),
      {bias: biasValues && tf.tensor1d(biasValues), activation},
    ).dataSync(),
  );
  expect(actual.length).to.equal(expected.length);
  const limit = tolerance(x, kernel, testCase);
  // An assertion a value would take most of the time.
  if (expected.every((value, i) => Math.abs(actual[i] - value) <= limit)) return;
  expected.forEach((value, i) => expect(actual[i]).to.be.closeTo(value, limit));
}

function quantile(values: Float32Array, share: number): number {
  if (share === 0) return -Infinity;
  const sorted = values.map(Math.abs).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
