/**
 * @file `SparsifiedMatMul`: the one operation that sparsified layers compute. A TensorFlow.js kernel of that name
 * where the backend has one, else masking and the backend's dense matMul; with a gradient either way.
 */
import * as tf from '@tensorflow/tfjs';
import {SparsifyError} from '../errors.js';
import {CHECKED_LATER, checkOptions, oneOf, type OptionRules} from '../option-rules.js';
import {runKernel} from '../tfjs.js';
import {FUSED_ACTIVATIONS, activationGradient, type FusedActivation} from './activations.js';
import {SPARSIFIED_MATMUL, type SparsifiedMatMulAttrs} from './sparsified-matmul-kernel.js';
import {cpuKernelConfig} from './cpu-backend.js';
import {sparsifiedMatMulFallback} from './any-backend.js';
import {compressedMatMul, registerCompressedKernels} from './compressed-matmul.js';
import {isCompressedMatrix, matrixShape, type CompressedMatrix} from './compressed-matrix.js';
import {maskActivations} from './mask.js';

export interface SparsifiedMatMulOptions {
  /** float32, [N]. */
  readonly bias?: tf.Tensor1D;
  /** Applied to the sum; `linear` by default. */
  readonly activation?: FusedActivation;
}

const RULES: OptionRules<SparsifiedMatMulOptions> = {
  bias: CHECKED_LATER, // its shape, with the others'
  activation: oneOf(FUSED_ACTIVATIONS),
};

/**
 * `activation(masked(x) * kernel + bias)`, where entries with `|x| <= threshold` count as 0 and NaN is kept.
 * Gradients pass to x where it was kept, to the kernel if it is float32, and to the bias; the threshold has none.
 *
 * Where rows are skipped, an Inf or NaN in a row of the kernel whose input is masked has no effect; where the
 * fallback multiplies by 0 it gives NaN.
 *
 * @param x float32, [..., K], rank 1 or more.
 * @param kernel float32, [K, N]; or packed: INT8 with a scale and a zero point a column, INT4 with those of groups of inputs.
 * @param threshold float32, a scalar or [K]; -Infinity keeps everything.
 * @returns float32, [..., N]; the caller disposes it.
 * @throws {SparsifyError} `shape-mismatch` if the shapes do not fit; `unknown-option`, `bad-option`.
 */
export function sparsifiedMatMul(
  x: tf.Tensor,
  kernel: tf.Tensor2D | CompressedMatrix,
  threshold: tf.Tensor,
  options: SparsifiedMatMulOptions = {},
): tf.Tensor {
  checkOptions('sparsifiedMatMul', options, RULES);
  return computeSparsifiedMatMul(x, kernel, threshold, options);
}

/** `sparsifiedMatMul` for callers whose options the compiler has checked: layers call it for every batch. */
export function computeSparsifiedMatMul(
  x: tf.Tensor,
  kernel: tf.Tensor2D | CompressedMatrix,
  threshold: tf.Tensor,
  {bias, activation = 'linear'}: SparsifiedMatMulOptions,
): tf.Tensor {
  registerSparsifiedMatMul();
  if (isCompressedMatrix(kernel)) {
    checkShapes(x, matrixShape(kernel), threshold, bias);
    return compressedMatMul({x, kernel, threshold, bias, activation});
  }
  checkShapes(x, kernel.shape, threshold, bias);
  const attrs: SparsifiedMatMulAttrs = {activation};
  const hasKernel = tf.getKernel(SPARSIFIED_MATMUL, tf.getBackend()) !== undefined;
  // Outside of gradients nobody asks for one, and customGrad takes 12 us of the 27 us of a small call.
  // Stryker disable next-line all: called directly or through the custom gradient, the kernel is the same
  if (hasKernel && x.dtype === 'float32' && tf.engine().state.gradientDepth === 0) {
    return runKernel(SPARSIFIED_MATMUL, {x, kernel, threshold, ...(bias === undefined ? {} : {bias})}, attrs);
  }
  const op = tf.customGrad((...args) => {
    const save = args.pop() as tf.GradSaveFunc;
    const [x, kernel, threshold, bias] = args as [tf.Tensor, tf.Tensor2D, tf.Tensor, tf.Tensor1D?];
    const inputs = {x, kernel, threshold, ...(bias === undefined ? {} : {bias})};
    save(Object.values(inputs));
    const value = hasKernel
      ? runKernel(SPARSIFIED_MATMUL, inputs, attrs)
      : sparsifiedMatMulFallback({...inputs, activation});
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const gradients = gradientsOf(dy, saved, activation);
      const inOrder = [gradients.x(), gradients.kernel(), gradients.threshold()];
      return bias === undefined ? inOrder : [...inOrder, gradients.bias()];
    };
    return {value, gradFunc};
  });
  const float = x.dtype === 'float32' ? x : tf.cast(x, 'float32');
  return bias === undefined ? op(float, kernel, threshold) : op(float, kernel, threshold, bias);
}

let registered = false;

/** Registers the kernels that this package has for every environment, and their gradient. Calling it again changes nothing. */
export function registerSparsifiedMatMul(): void {
  if (registered) return;
  registered = true;
  tf.registerKernel(cpuKernelConfig);
  registerCompressedKernels();
  tf.registerGradient({
    kernelName: SPARSIFIED_MATMUL,
    inputsToSave: ['x', 'kernel', 'threshold', 'bias'],
    gradFunc: (dy, saved, attrs) =>
      gradientsOf(dy as tf.Tensor, saved, (attrs as unknown as SparsifiedMatMulAttrs).activation),
  });
}

/** Gradients by input name. `saved` holds x, kernel, threshold and, if there is one, the bias. */
function gradientsOf(dy: tf.Tensor, saved: tf.Tensor[], activation: FusedActivation) {
  const [x, kernel, threshold, bias] = saved as [tf.Tensor, tf.Tensor2D, tf.Tensor, tf.Tensor1D?];
  const [inputSize, units] = kernel.shape;
  const hasBias = bias !== undefined && bias.size > 0;
  const flatX = tf.reshape<tf.Rank.R2>(x, [-1, inputSize]); // [rows, K]
  const masked = maskActivations(flatX, threshold); // [rows, K]
  let dz = tf.reshape<tf.Rank.R2>(dy, [-1, units]); // [rows, N]
  if (activation !== 'linear') {
    const z = tf.fused.matMul({a: masked, b: kernel, bias: hasBias ? bias : undefined}); // [rows, N]
    dz = activationGradient(dz, z, activation) as tf.Tensor2D;
  }
  return {
    x: () => {
      const dx = tf.matMul(dz, kernel, false, true); // [rows, N] x [N, K]
      const dropped = tf.lessEqual(tf.abs(flatX), threshold);
      return tf.where(dropped, tf.zerosLike(dx), dx).reshape(x.shape);
    },
    kernel: () => tf.matMul(masked, dz, true, false), // [K, rows] x [rows, N]
    threshold: () => tf.zerosLike(threshold),
    bias: () => (hasBias ? tf.sum(dz, 0) : tf.zeros([0])),
  };
}

function checkShapes(x: tf.Tensor, kernel: readonly number[], threshold: tf.Tensor, bias?: tf.Tensor): void {
  const [inputSize, units] = kernel;
  const fail = (what: string) => {
    throw new SparsifyError('shape-mismatch', `sparsifiedMatMul: ${what}`, {
      x: x.shape,
      kernel,
      threshold: threshold.shape,
      bias: bias?.shape,
    });
  };
  if (kernel.length !== 2) fail(`the kernel has shape [${kernel}]; it must be [inputs, units]`);
  if (x.rank === 0 || x.shape[x.rank - 1] !== inputSize) {
    fail(`x has shape [${x.shape}]; its last dimension must be ${inputSize}, the kernel's first`);
  }
  if (threshold.size !== 1 && !(threshold.rank === 1 && threshold.size === inputSize)) {
    fail(
      `the threshold has shape [${threshold.shape}]; give a scalar or one value per input, [${inputSize}]`,
    );
  }
  if (bias !== undefined && bias.size !== units) {
    fail(`the bias has shape [${bias.shape}]; it must be [${units}], one value per unit`);
  }
}
