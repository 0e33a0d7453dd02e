/**
 * @file `SparsifiedMatMul` on tfjs-node, by TensorFlow ops of our own: an addon (native/) that registers them with
 * the libtensorflow of this process. Few rows skip rows of the kernel, more are masked and multiplied in blocks, and
 * where TensorFlow's dense MatMul is faster they are masked for it. For tfjs-node-gpu see tensorflow-gpu-backend.ts.
 */
import * as tf from '@tensorflow/tfjs';
import type {FusedActivation} from './activations.js';
import {
  SPARSIFIED_MATMUL,
  leadingSize,
  type SparsifiedMatMulAttrs,
  type SparsifiedMatMulInputs,
} from './sparsified-matmul-kernel.js';
import {
  DEQUANTIZE_INT8,
  SPARSIFIED_MATMUL_INT8,
  type Int8Infos,
  type SparsifiedMatMulInt8Inputs,
} from './int8-kernels.js';
import {
  DEQUANTIZE_INT4,
  SPARSIFIED_MATMUL_INT4,
  type Int4Attrs,
  type Int4Infos,
  type SparsifiedMatMulInt4Attrs,
  type SparsifiedMatMulInt4Inputs,
} from './int4-kernels.js';
import type {DecoderModelHandle, DecoderTensors, NativeDecoding} from './decoder-addon.js';

/** The addon, native/addon.cc. */
export interface NativeKernels extends NativeDecoding {
  /** Registers the ops with the libtensorflow of this process; throws if there is none. */
  register(): void;
  /** Instruction set that the loops use here, such as `AVX2`. */
  instructionSet(): string;
  /** Threads that work on one call, the caller's included: the cores there are, or `SPARSIFY_NUM_THREADS`. */
  threads(): number;
  /** Changes the number of threads, at least 1, for this process. */
  setThreads(threads: number): void;
  /** Bytes a second at which these threads read `data` once, for comparison. */
  readBandwidth(data: Float32Array): number;
}

/** What the backend of tfjs-node and tfjs-node-gpu has beyond the public type. */
export interface TensorflowBackend {
  readonly binding: Readonly<
    Record<'TF_ATTR_INT' | 'TF_ATTR_BOOL' | 'TF_ATTR_TYPE' | 'TF_ATTR_STRING' | 'TF_FLOAT', number>
  >;
  executeSingleOutput(op: string, attrs: readonly OpAttr[], inputs: readonly tf.TensorInfo[]): tf.Tensor;
}

interface OpAttr {
  readonly name: string;
  readonly type: number;
  readonly value: number | string | boolean;
}

/**
 * Up to this many rows our op skips rows of the kernel, and up to this many multiplications it masks x and multiplies in
 * blocks of its own; beyond both, TensorFlow's dense MatMul on masked rows is as fast or faster.
 *
 * Measured on 2 cores with AVX2, TensorFlow 2.21, time of the faster of `MatMul` and `tf.matMul` over that of our op at
 * sparsity 0 (0.5 differs by 0.05 at most beyond 8 rows). Up to 12 rows skipping, beyond 16 blocks; | where the rule ends:
 *
 *     rows             4       8       12      16      32      64      256
 *     576 x 192                                1.7     1.3     1.4     1.2
 *     576 x 576                                1.7     1.4     1.3     1.0
 *     1536 x 576                               1.4     1.4     1.1   | 0.91
 *     576 x 1536       1.5     1.8     1.2     1.3     1.4     1.2   | 0.93
 *     2048 x 256                               1.4     1.3     1.2     1.0
 *     2048 x 2048                                      1.2           | 1.1
 *     4096 x 1024                                      1.2           | 0.87
 *     2048 x 5632                                    | 1.0             0.87
 *     5632 x 2048                                    | 0.94            1.1
 *     4096 x 4096      1.6     1.4             1.0
 *
 * With one thread blocks gain more where rows of the kernel are a multiple of 2 KB apart (units a multiple of 512), which
 * TensorFlow's matrix product does not avoid: 2048 x 2048 at 256 rows 1.7, 5632 x 2048 1.5, 576 x 1536 1.15; and lose
 * elsewhere: 1536 x 576 0.85.
 */
const MAX_SKIPPING_ROWS = 12;
const MAX_BLOCK_PRODUCTS = 2 ** 27;

/** Whether our op multiplies by a kernel [inputSize, units] itself, or TensorFlow does by `rows` masked rows of x. */
export function multipliesItself(rows: number, inputSize: number, units: number): boolean {
  return rows <= MAX_SKIPPING_ROWS || rows * inputSize * units <= MAX_BLOCK_PRODUCTS;
}

let registered: NativeKernels | undefined;

/**
 * Registers the ops with TensorFlow, and `SparsifiedMatMul`, its INT8 and INT4 forms and the dequantizations for backend
 * `tensorflow`. A second call changes nothing.
 * `loadNativeKernels` (lib/backend/native.ts) calls it.
 *
 * @param native The loaded addon.
 * @throws {Error} If this process has not loaded tfjs-node.
 */
export function registerTensorflowKernels(native: NativeKernels): void {
  if (registered !== undefined) return;
  native.register();
  tf.registerKernel({kernelName: SPARSIFIED_MATMUL, backendName: 'tensorflow', kernelFunc});
  tf.registerKernel({
    kernelName: SPARSIFIED_MATMUL_INT8,
    backendName: 'tensorflow',
    kernelFunc: int8KernelFunc,
  });
  tf.registerKernel({kernelName: DEQUANTIZE_INT8, backendName: 'tensorflow', kernelFunc: dequantizeFunc});
  tf.registerKernel({
    kernelName: SPARSIFIED_MATMUL_INT4,
    backendName: 'tensorflow',
    kernelFunc: int4KernelFunc,
  });
  tf.registerKernel({kernelName: DEQUANTIZE_INT4, backendName: 'tensorflow', kernelFunc: dequantizeInt4Func});
  registered = native;
}

/** The addon whose ops are registered, if backend `tensorflow` is the current one. */
export function registeredKernels(): NativeKernels | undefined {
  return tf.getBackend() === 'tensorflow' ? registered : undefined;
}

/**
 * Hands weights to the decoder, which uses their memory in place and keeps it; see native/tensorflow/prepare-op.h.
 *
 * @param tensors The words as the op of the device takes them.
 * @throws {Error} If the weights do not fit the numbers.
 */
export function prepareDecoder(native: NativeDecoding, ...tensors: DecoderTensors): DecoderModelHandle {
  const [numbers, weights, words] = tensors;
  const backend = tf.backend() as unknown as TensorflowBackend;
  const type = backend.binding.TF_ATTR_INT;
  const attrs = [
    {name: 'N', type, value: weights.length},
    {name: 'M', type, value: words.length},
  ];
  const id = backend.executeSingleOutput('SparsifyDecoderPrepare', attrs, [numbers, ...weights, ...words]);
  const [value] = id.dataSync();
  id.dispose();
  return native.decoderModel(value);
}

const kernelFunc: tf.KernelFunc = ({inputs, attrs, backend}) =>
  multiply(
    inputs as unknown as SparsifiedMatMulInputs,
    (attrs as unknown as SparsifiedMatMulAttrs).activation,
    backend as TensorflowBackend,
  );

/** However many rows: beyond a few the op dequantizes blocks of the kernel into the cache, never all of it. */
const int8KernelFunc: tf.KernelFunc = ({inputs, attrs, backend}) => {
  const {x, values, scale, zeroPoint, threshold, bias} = inputs as unknown as SparsifiedMatMulInt8Inputs;
  const {activation} = attrs as unknown as SparsifiedMatMulAttrs;
  const tensorflow = backend as TensorflowBackend;
  const type = tensorflow.binding.TF_ATTR_STRING;
  const opAttrs = activation === 'linear' ? [] : [{name: 'activation', type, value: activation}];
  const parts = [x, values, scale, zeroPoint, threshold];
  return bias === undefined
    ? tensorflow.executeSingleOutput(SPARSIFIED_MATMUL_INT8, opAttrs, parts) // [..., N]
    : tensorflow.executeSingleOutput(`${SPARSIFIED_MATMUL_INT8}WithBias`, opAttrs, [...parts, bias]);
};

const dequantizeFunc: tf.KernelFunc = ({inputs, backend}) => {
  const {values, scale, zeroPoint} = inputs as unknown as Int8Infos;
  return (backend as TensorflowBackend).executeSingleOutput(
    'SparsifyDequantizeInt8',
    [],
    [values, scale, zeroPoint],
  );
};

/** How the names of the ops for a form of INT4 end. */
const INT4_SUFFIX = {sym: '', asym: 'Asymmetric', minimum: 'Minimum'} as const;

/** The tensors of an INT4 matrix as its ops take them. */
function int4Parts({values, scale, zeroPoint, minimum}: Int4Infos): tf.TensorInfo[] {
  const offset = zeroPoint ?? minimum;
  return offset === undefined ? [values, scale] : [values, scale, offset];
}

/** That a word of scales is half empty, which shapes do not say. */
function oddAttrs(backend: TensorflowBackend, columns: number): OpAttr[] {
  return columns % 2 === 0 ? [] : [{name: 'odd', type: backend.binding.TF_ATTR_INT, value: 1}];
}

/** However many rows, as with INT8. */
const int4KernelFunc: tf.KernelFunc = ({inputs, attrs, backend}) => {
  const {x, threshold, bias, ...matrix} = inputs as unknown as SparsifiedMatMulInt4Inputs;
  const {activation, kind, columns} = attrs as unknown as SparsifiedMatMulInt4Attrs;
  const tensorflow = backend as TensorflowBackend;
  const type = tensorflow.binding.TF_ATTR_STRING;
  const opAttrs = oddAttrs(tensorflow, columns);
  if (activation !== 'linear') opAttrs.push({name: 'activation', type, value: activation});
  const name = `${SPARSIFIED_MATMUL_INT4}${INT4_SUFFIX[kind]}`;
  const parts = [x, ...int4Parts(matrix), threshold];
  return bias === undefined
    ? tensorflow.executeSingleOutput(name, opAttrs, parts) // [..., N]
    : tensorflow.executeSingleOutput(`${name}WithBias`, opAttrs, [...parts, bias]);
};

const dequantizeInt4Func: tf.KernelFunc = ({inputs, attrs, backend}) => {
  const {kind, columns} = attrs as unknown as Int4Attrs;
  const tensorflow = backend as TensorflowBackend;
  return tensorflow.executeSingleOutput(
    `SparsifyDequantizeInt4${INT4_SUFFIX[kind]}`,
    oddAttrs(tensorflow, columns),
    int4Parts(inputs as unknown as Int4Infos),
  );
};

function multiply(
  {x, kernel, threshold, bias}: SparsifiedMatMulInputs,
  activation: FusedActivation,
  backend: TensorflowBackend,
): tf.TensorInfo {
  const {TF_ATTR_INT, TF_ATTR_STRING} = backend.binding;
  const activationAttr = {name: 'activation', type: TF_ATTR_STRING, value: activation};
  const [inputSize, units] = kernel.shape;
  const rows = leadingSize(x.shape);
  if (multipliesItself(rows, inputSize, units)) {
    const attrs = activation === 'linear' ? [] : [activationAttr]; // its default costs nothing
    return bias === undefined
      ? backend.executeSingleOutput(SPARSIFIED_MATMUL, attrs, [x, kernel, threshold]) // [..., N]
      : backend.executeSingleOutput(`${SPARSIFIED_MATMUL}WithBias`, attrs, [x, kernel, threshold, bias]);
  }
  const masked = maskedMatrix(backend, x, rows, inputSize, threshold); // [rows, K]
  const product = denseMatMul(backend, masked, kernel); // [rows, K] x [K, N]
  masked.dispose();
  if (bias === undefined && activation === 'linear') return withRows(product, x.shape);
  const biases = bias === undefined ? [] : [bias];
  const attrs = [{name: 'B', type: TF_ATTR_INT, value: biases.length}, activationAttr];
  const y = backend.executeSingleOutput('SparsifyBiasActivation', attrs, [product, ...biases]); // [rows, N]
  product.dispose();
  return withRows(y, x.shape);
}

/**
 * x, masked, as a matrix: then the op gives x itself if there is nothing to mask. A reshape takes 20 us and more, 4 % of
 * 256 rows by 1536 x 576, so only where it changes something.
 *
 * @returns [rows, K].
 */
export function maskedMatrix(
  backend: TensorflowBackend,
  x: tf.TensorInfo,
  rows: number,
  inputSize: number,
  threshold: tf.TensorInfo,
): tf.Tensor {
  if (x.shape.length === 2) return backend.executeSingleOutput('SparsifyMask', [], [x, threshold]);
  const flat = tf.reshape(x as tf.Tensor, [rows, inputSize]);
  const masked = backend.executeSingleOutput('SparsifyMask', [], [flat, threshold]);
  flat.dispose();
  return masked;
}

/**
 * TensorFlow's `MatMul` op. Not `tf.matMul`, which runs BatchMatMulV2: up to twice as slow for few rows.
 *
 * @param a float32, [rows, K].
 * @param b float32, [K, N].
 * @returns [rows, N].
 */
export function denseMatMul(backend: TensorflowBackend, a: tf.TensorInfo, b: tf.TensorInfo): tf.Tensor {
  const {TF_ATTR_BOOL, TF_ATTR_TYPE, TF_FLOAT} = backend.binding;
  const attrs = [
    {name: 'transpose_a', type: TF_ATTR_BOOL, value: false},
    {name: 'transpose_b', type: TF_ATTR_BOOL, value: false},
    {name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT},
  ];
  return backend.executeSingleOutput('MatMul', attrs, [a, b]);
}

/** `y` [rows, N] as [..., N] with the leading dimensions of `shape`; takes `y`. */
export function withRows(y: tf.Tensor, shape: readonly number[]): tf.Tensor {
  if (shape.length === 2) return y;
  const reshaped = tf.reshape(y, [...shape.slice(0, -1), y.shape[1] as number]);
  y.dispose();
  return reshaped;
}
