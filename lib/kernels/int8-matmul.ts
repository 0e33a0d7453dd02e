/**
 * @file The multiplication by an INT8 kernel with its gradient: by the kernel of the backend where it has one, else by
 * blocks that are dequantized. The weights are constants; gradients pass to x and to the bias.
 */
import * as tf from '@tensorflow/tfjs';
import {SparsifyError} from '../errors.js';
import {runKernel} from '../tfjs.js';
import {activationGradient, type FusedActivation} from './activations.js';
import {cpuDequantizeConfig, cpuInt8KernelConfig} from './int8-cpu-backend.js';
import {SPARSIFIED_MATMUL_INT8, type Int8Matrix} from './int8-kernels.js';
import {columnBlocks, sparsifiedMatMulInt8Fallback, type Int8FallbackArgs} from './int8-any-backend.js';

/**
 * `activation(masked(x) * kernel + bias)`; `sparsifiedMatMul` with an INT8 kernel calls it.
 *
 * @returns float32, [..., N]; the caller disposes it.
 * @throws {SparsifyError} `shape-mismatch` if the parts of the kernel do not belong together.
 */
export function sparsifiedMatMulInt8(args: Int8FallbackArgs): tf.Tensor {
  checkInt8Matrix(args.kernel);
  if (args.x.dtype === 'float32' && tf.engine().state.gradientDepth === 0) return forward(args);
  const {kernel, threshold, activation} = args;
  const op = tf.customGrad((...inputs) => {
    const save = inputs.pop() as tf.GradSaveFunc;
    const [x, bias] = inputs as [tf.Tensor, tf.Tensor1D?];
    const {values, scale, zeroPoint} = kernel;
    save([x, values, scale, zeroPoint, threshold, ...(bias === undefined ? [] : [bias])]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => gradientsOf(dy, saved, activation);
    return {value: forward({x, kernel, threshold, bias, activation}), gradFunc};
  });
  const x = args.x.dtype === 'float32' ? args.x : tf.cast(args.x, 'float32');
  return args.bias === undefined ? op(x) : op(x, args.bias);
}

function forward({x, kernel, threshold, bias, activation}: Int8FallbackArgs): tf.Tensor {
  if (tf.getKernel(SPARSIFIED_MATMUL_INT8, tf.getBackend()) === undefined) {
    return sparsifiedMatMulInt8Fallback({x, kernel, threshold, bias, activation});
  }
  const {values, scale, zeroPoint} = kernel;
  const inputs = {x, values, scale, zeroPoint, threshold, ...(bias === undefined ? {} : {bias})};
  return runKernel(SPARSIFIED_MATMUL_INT8, inputs, {activation});
}

/** Gradients in the order of the inputs: x and, if there is one, the bias. */
function gradientsOf(dy: tf.Tensor, saved: tf.Tensor[], activation: FusedActivation): tf.Tensor[] {
  const [x, values, scale, zeroPoint, threshold, bias] = saved as [
    tf.Tensor,
    tf.Tensor2D,
    tf.Tensor1D,
    tf.Tensor1D,
    tf.Tensor,
    tf.Tensor1D?,
  ];
  const kernel = {values, scale, zeroPoint};
  const [inputSize] = values.shape;
  const units = scale.size;
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

/** Registers the INT8 kernels that this package has for every environment. */
export function registerInt8Kernels(): void {
  tf.registerKernel(cpuInt8KernelConfig);
  tf.registerKernel(cpuDequantizeConfig);
}

function checkInt8Matrix({values, scale, zeroPoint}: Int8Matrix): void {
  const columns = scale.size;
  if (values.dtype === 'int32' && values.shape[1] === Math.ceil(columns / 4) && zeroPoint.size === columns) {
    return;
  }
  throw new SparsifyError(
    'shape-mismatch',
    `sparsifiedMatMul: an INT8 kernel has values ${values.dtype} [${values.shape}], scale [${scale.shape}] and zero ` +
      `point [${zeroPoint.shape}]; give int32 [inputs, units / 4 rounded up], [units] and [units]`,
    {values: values.shape, scale: scale.shape, zeroPoint: zeroPoint.shape},
  );
}
