/**
 * @file The multiplication by a packed kernel with its gradient: by the kernel of the backend where it has one, else by
 * blocks that are dequantized. The weights are constants; gradients pass to x and to the bias.
 */
import * as tf from '@tensorflow/tfjs';
import {runKernel} from '../tfjs.js';
import {activationGradient} from './activations.js';
import {columnBlocks, compressedMatMulFallback, type CompressedMatMulArgs} from './compressed-any-backend.js';
import {attrsOf, checkMatrix, matrixShape, multiplierOf, tensorsOf} from './compressed-matrix.js';
import {cpuDequantizeInt4Config, cpuInt4KernelConfig} from './int4-cpu-backend.js';
import {cpuDequantizeConfig, cpuInt8KernelConfig} from './int8-cpu-backend.js';

/**
 * `activation(masked(x) * kernel + bias)`; `sparsifiedMatMul` with a packed kernel calls it.
 *
 * @returns float32, [..., N]; the caller disposes it.
 * @throws {SparsifyError} `shape-mismatch` if the parts of the kernel do not belong together.
 */
export function compressedMatMul(args: CompressedMatMulArgs): tf.Tensor {
  checkMatrix(args.kernel);
  if (args.x.dtype === 'float32' && tf.engine().state.gradientDepth === 0) return forward(args);
  const {kernel, threshold, activation} = args;
  const op = tf.customGrad((...inputs) => {
    const save = inputs.pop() as tf.GradSaveFunc;
    const [x, bias] = inputs as [tf.Tensor, tf.Tensor1D?];
    save([x, threshold, ...(bias === undefined ? [] : [bias]), ...Object.values(tensorsOf(kernel))]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const [x, threshold, ...others] = saved;
      const bias = args.bias === undefined ? undefined : (others.shift() as tf.Tensor1D);
      const names = Object.keys(tensorsOf(kernel));
      const parts = Object.fromEntries(names.map((name, i) => [name, others[i]]));
      return gradientsOf(dy, {x, threshold, bias, activation, kernel: {...kernel, ...parts}});
    };
    return {value: forward({x, kernel, threshold, bias, activation}), gradFunc};
  });
  const x = args.x.dtype === 'float32' ? args.x : tf.cast(args.x, 'float32');
  return args.bias === undefined ? op(x) : op(x, args.bias);
}

function forward(args: CompressedMatMulArgs): tf.Tensor {
  const {x, kernel, threshold, bias, activation} = args;
  const name = multiplierOf(kernel);
  if (tf.getKernel(name, tf.getBackend()) === undefined) return compressedMatMulFallback(args);
  const inputs = {x, ...tensorsOf(kernel), threshold, ...(bias === undefined ? {} : {bias})};
  return runKernel(name, inputs, {activation, ...attrsOf(kernel)});
}

/** Gradients in the order of the inputs: x and, if there is one, the bias. */
function gradientsOf(dy: tf.Tensor, args: CompressedMatMulArgs): tf.Tensor[] {
  const {x, kernel, threshold, bias, activation} = args;
  const [inputSize, units] = matrixShape(kernel);
  const flatX = tf.reshape<tf.Rank.R2>(x, [-1, inputSize]); // [rows, K]
  let dz = tf.reshape<tf.Rank.R2>(dy, [-1, units]); // [rows, N]
  if (activation !== 'linear') {
    const z = forward({x: flatX, kernel, threshold, bias, activation: 'linear'}); // [rows, N]
    dz = activationGradient(dz, z, activation) as tf.Tensor2D;
  }
  const dx = tf.tidy(() => {
    let sum: tf.Tensor2D | undefined;
    for (const {start, weights} of columnBlocks(kernel)) {
      const part = tf.slice(dz, [0, start], [-1, weights.shape[1]]);
      const product: tf.Tensor2D = tf.matMul(part, weights, false, true); // [rows, n] x [n, K]
      weights.dispose();
      sum = sum === undefined ? product : tf.add<tf.Tensor2D>(sum, product);
    }
    const dropped = tf.lessEqual(tf.abs(flatX), threshold);
    return tf.where(dropped, tf.zerosLike(flatX), sum!).reshape(x.shape);
  });
  return bias === undefined ? [dx] : [dx, tf.sum(dz, 0)];
}

/** Registers the kernels of packed weights that this package has for every environment. */
export function registerCompressedKernels(): void {
  for (const config of [
    cpuInt8KernelConfig,
    cpuDequantizeConfig,
    cpuInt4KernelConfig,
    cpuDequantizeInt4Config,
  ]) {
    tf.registerKernel(config);
  }
}
