/**
 * @file `SparsifiedMatMul` on tfjs-node-gpu, by CUDA kernels that are TensorFlow ops of our own: an addon
 * (native/cuda/) that registers them with the libtensorflow of this process. Few rows skip rows of the kernel, more are
 * masked and multiplied by TensorFlow's MatMul, which is cuBLAS. Nothing waits for the device.
 */
import * as tf from '@tensorflow/tfjs';
import {BLOCK_COLUMNS} from '../quantization/int4.js';
import type {FusedActivation} from './activations.js';
import {
  SPARSIFIED_MATMUL,
  leadingSize,
  type SparsifiedMatMulAttrs,
  type SparsifiedMatMulInputs,
} from './sparsified-matmul-kernel.js';
import {SPARSIFIED_MATMUL_INT8, type Int8Matrix, type SparsifiedMatMulInt8Inputs} from './int8-kernels.js';
import {
  SPARSIFIED_MATMUL_INT4,
  type Int4Infos,
  type Int4Matrix,
  type SparsifiedMatMulInt4Attrs,
  type SparsifiedMatMulInt4Inputs,
} from './int4-kernels.js';
import {compressedMatMulFallback} from './compressed-any-backend.js';
import type {DecoderModelHandle, DecoderTensors, NativeDecoding} from './decoder-addon.js';
import {
  denseMatMul,
  maskedMatrix,
  prepareDecoder,
  withRows,
  type TensorflowBackend,
} from './tensorflow-backend.js';

/** The addon, native/cuda/addon.cc. */
export interface GpuKernels extends NativeDecoding {
  /** Registers the ops with the libtensorflow of this process; throws if there is none. */
  register(): void;
  /** Calls that were enqueued on a GPU so far. */
  launches(): number;
  /** Whether every call waits for the device, since TensorFlow's stream is not known. */
  waits(): boolean;
  /** The GPU; throws with CUDA's reason if there is none. */
  device(): {
    readonly name: string;
    /** As `9.0`. */
    readonly computeCapability: string;
    readonly multiprocessors: number;
    readonly memoryBytes: number;
    /** Whether one launch does (compute capability 9.0 and newer); two do elsewhere. */
    readonly clusters: boolean;
  };
}

/**
 * Up to this many rows the CUDA kernel skips rows of the kernel. Measured on an H100, 4096 x 11008 and 50 % masked, times of
 * cuBLAS over ours: 1 row 1.7, 2 rows 1.3, 4 rows 1.1, 8 rows 0.9 (independent masks; shared ones gain more).
 */
const MAX_SKIPPING_ROWS = 8;
/** Packed kernels are multiplied in batches of 8 rows up to this many; beyond, they are dequantized by blocks. */
const MAX_PACKED_ROWS = 64;
/** Weights in a block of an INT4 kernel: 64 MB of float32. */
const BLOCK_WEIGHTS = 2 ** 24;
/** The CUDA kernel's list holds an input's index in 24 bits. */
const MAX_INPUTS = 2 ** 24;
/** Rows of a packed kernel, and of what the groups of an INT4 one have, are padded to a multiple of this many bytes. */
const PACKED_ROW_BYTES = 16;

let registered: GpuKernels | undefined;

/**
 * Registers the ops with TensorFlow, and `SparsifiedMatMul` and its INT8 and INT4 forms for backend `tensorflow`. A second call
 * changes nothing. `loadGpuKernels` (lib/backend/native.ts) calls it.
 *
 * @param native The loaded addon.
 * @throws {Error} If this process has not loaded tfjs-node-gpu.
 */
export function registerTensorflowGpuKernels(native: GpuKernels): void {
  if (registered !== undefined) return;
  native.register();
  tf.registerKernel({
    kernelName: SPARSIFIED_MATMUL,
    backendName: 'tensorflow',
    kernelFunc: ({inputs, attrs, backend}) =>
      multiply(
        inputs as unknown as SparsifiedMatMulInputs,
        (attrs as unknown as SparsifiedMatMulAttrs).activation,
        backend as TensorflowBackend,
      ),
  });
  tf.registerKernel({
    kernelName: SPARSIFIED_MATMUL_INT8,
    backendName: 'tensorflow',
    kernelFunc: ({inputs, attrs, backend}) =>
      multiplyInt8(
        inputs as unknown as SparsifiedMatMulInt8Inputs,
        (attrs as unknown as SparsifiedMatMulAttrs).activation,
        backend as TensorflowBackend,
      ),
  });
  tf.registerKernel({
    kernelName: SPARSIFIED_MATMUL_INT4,
    backendName: 'tensorflow',
    kernelFunc: ({inputs, attrs, backend}) =>
      multiplyInt4(
        inputs as unknown as SparsifiedMatMulInt4Inputs,
        attrs as unknown as SparsifiedMatMulInt4Attrs,
        backend as TensorflowBackend,
      ),
  });
  registered = native;
}

/** The addon whose ops are registered, if backend `tensorflow` is the current one. */
export function registeredGpuKernels(): GpuKernels | undefined {
  return tf.getBackend() === 'tensorflow' ? registered : undefined;
}

/**
 * Hands weights to the decoder on the GPU, which uses their memory in place and keeps it; see
 * native/tensorflow/prepare-op.h.
 *
 * @param tensors The words in int32; their copies on the device are those of `SparsifiedMatMul`.
 * @throws {Error} If the weights do not fit the numbers, or the GPU's memory does not suffice.
 */
export function prepareGpuDecoder(native: NativeDecoding, ...tensors: DecoderTensors): DecoderModelHandle {
  const [numbers, weights, words] = tensors;
  const none = tf.zeros([0]);
  const packedWords = words.map((tensor) => (tensor.size === 0 ? none : packedOnDevice(tensor)));
  const handle = prepareDecoder(native, numbers, weights, packedWords);
  none.dispose();
  return handle;
}

function multiply(
  {x, kernel, threshold, bias}: SparsifiedMatMulInputs,
  activation: FusedActivation,
  backend: TensorflowBackend,
): tf.TensorInfo {
  const [inputSize] = kernel.shape;
  const rows = leadingSize(x.shape);
  const biases = bias === undefined ? [] : [bias];
  const attrs = [
    {name: 'B', type: backend.binding.TF_ATTR_INT, value: biases.length},
    {name: 'activation', type: backend.binding.TF_ATTR_STRING, value: activation},
  ];
  if (rows <= MAX_SKIPPING_ROWS && inputSize <= MAX_INPUTS) {
    return backend.executeSingleOutput(SPARSIFIED_MATMUL, attrs, [x, kernel, threshold, ...biases]); // [..., N]
  }
  const masked = maskedMatrix(backend, x, rows, inputSize, threshold); // [rows, K]
  const product = denseMatMul(backend, masked, kernel); // [rows, K] x [K, N]
  masked.dispose();
  return finished(backend, product, x.shape, bias, activation);
}

/** `activation(product + bias)` with the leading dimensions of `shape`; takes the product [rows, N]. */
function finished(
  backend: TensorflowBackend,
  product: tf.Tensor,
  shape: readonly number[],
  bias: tf.TensorInfo | undefined,
  activation: FusedActivation,
): tf.TensorInfo {
  if (bias === undefined && activation === 'linear') return withRows(product, shape);
  const biases = bias === undefined ? [] : [bias];
  const attrs = [
    {name: 'B', type: backend.binding.TF_ATTR_INT, value: biases.length},
    {name: 'activation', type: backend.binding.TF_ATTR_STRING, value: activation},
  ];
  const y = backend.executeSingleOutput('SparsifyBiasActivation', attrs, [product, ...biases]); // [rows, N]
  product.dispose();
  return withRows(y, shape);
}

function multiplyInt8(
  {x, values, scale, zeroPoint, threshold, bias}: SparsifiedMatMulInt8Inputs,
  activation: FusedActivation,
  backend: TensorflowBackend,
): tf.TensorInfo {
  const [inputSize] = values.shape;
  if (leadingSize(x.shape) > MAX_PACKED_ROWS || inputSize > MAX_INPUTS) {
    const kernel = {values, scale, zeroPoint} as unknown as Int8Matrix;
    return compressedMatMulFallback({
      x: x as tf.Tensor,
      kernel,
      threshold: threshold as tf.Tensor,
      bias: bias as tf.Tensor1D | undefined,
      activation,
    });
  }
  const {TF_ATTR_INT, TF_ATTR_STRING} = backend.binding;
  const units = scale.shape[0];
  const biases = bias === undefined ? [] : [bias];
  return backend.executeSingleOutput(
    'SparsifiedMatMulPacked',
    [
      {name: 'P', type: TF_ATTR_INT, value: 2},
      {name: 'B', type: TF_ATTR_INT, value: biases.length},
      {name: 'units', type: TF_ATTR_INT, value: units},
      {name: 'storage', type: TF_ATTR_STRING, value: 'int8'},
      {name: 'activation', type: TF_ATTR_STRING, value: activation},
    ],
    [x, packedOnDevice(values), threshold, scale, zeroPoint, ...biases],
  ); // [..., N]
}

/** The storage of an INT4 kernel in the ops' attributes. */
const INT4_STORAGE = {sym: 'int4', asym: 'int4_asymmetric', minimum: 'int4_minimum'} as const;

function multiplyInt4(
  {x, threshold, bias, ...matrix}: SparsifiedMatMulInt4Inputs,
  {activation, ...shape}: SparsifiedMatMulInt4Attrs,
  backend: TensorflowBackend,
): tf.TensorInfo {
  const [inputSize] = matrix.values.shape;
  const rows = leadingSize(x.shape);
  if (inputSize > MAX_INPUTS) {
    return compressedMatMulFallback({
      x: x as tf.Tensor,
      kernel: {...matrix, ...shape} as unknown as Int4Matrix,
      threshold: threshold as tf.Tensor,
      bias: bias as tf.Tensor1D | undefined,
      activation,
    });
  }
  const {TF_ATTR_INT, TF_ATTR_STRING} = backend.binding;
  const values = packedOnDevice(matrix.values);
  const parameters = int4Parameters(matrix);
  const attrs: {name: string; type: number; value: number | string}[] = [
    {name: 'P', type: TF_ATTR_INT, value: parameters.length},
    {name: 'units', type: TF_ATTR_INT, value: shape.columns},
    {name: 'storage', type: TF_ATTR_STRING, value: INT4_STORAGE[shape.kind]},
  ];
  if (rows <= MAX_PACKED_ROWS) {
    const biases = bias === undefined ? [] : [bias];
    attrs.push(
      {name: 'B', type: TF_ATTR_INT, value: biases.length},
      {name: 'activation', type: TF_ATTR_STRING, value: activation},
    );
    const inputs = [x, values, threshold, ...parameters, ...biases];
    return backend.executeSingleOutput('SparsifiedMatMulPacked', attrs, inputs); // [..., N]
  }
  const masked = maskedMatrix(backend, x, rows, inputSize, threshold); // [rows, K]
  const most = Math.ceil(BLOCK_WEIGHTS / inputSize / BLOCK_COLUMNS) * BLOCK_COLUMNS;
  const products: tf.Tensor[] = [];
  for (let first = 0; first < shape.columns; first += most) {
    const block = [
      {name: 'first', type: TF_ATTR_INT, value: first},
      {name: 'columns', type: TF_ATTR_INT, value: Math.min(most, shape.columns - first)},
    ];
    const inputs = [values, ...parameters];
    const weights = backend.executeSingleOutput('SparsifyDequantizePacked', [...attrs, ...block], inputs);
    products.push(denseMatMul(backend, masked, weights)); // [rows, K] x [K, n]
    weights.dispose();
  }
  masked.dispose();
  const product = products.length === 1 ? products[0] : tf.concat(products, 1); // [rows, N]
  if (products.length > 1) tf.dispose(products);
  return finished(backend, product, x.shape, bias, activation);
}

/** What the ops take behind the values. */
function int4Parameters({scale, zeroPoint, minimum}: Int4Infos): tf.Tensor2D[] {
  return [scale, zeroPoint, minimum].flatMap((part) => (part === undefined ? [] : [packedOnDevice(part)]));
}

/** By the data of an int32 tensor, its bytes in the device's memory. */
const packed = new WeakMap<object, tf.Tensor2D>();
const disposer = new FinalizationRegistry<tf.Tensor>((copy) => copy.dispose());

/**
 * TensorFlow keeps int32 tensors in the host's memory and would copy them at every call, so their bytes travel once, as
 * float32 numbers of the same bits. The copy lives as long as the data of `values` is referred to.
 *
 * @param values int32 [K, words].
 * @returns float32 [K, words padded to 16 bytes], owned by this file.
 */
function packedOnDevice(values: tf.TensorInfo): tf.Tensor2D {
  const found = packed.get(values.dataId);
  if (found !== undefined) return found;
  const [rows, words] = values.shape;
  const stride = (Math.ceil((words * 4) / PACKED_ROW_BYTES) * PACKED_ROW_BYTES) / 4;
  const read = tf.engine().readSync(values.dataId) as Int32Array;
  const padded = new Int32Array(rows * stride);
  for (let row = 0; row < rows; row++) {
    padded.set(read.subarray(row * words, (row + 1) * words), row * stride);
  }
  const copy = tf.keep(tf.tensor2d(new Float32Array(padded.buffer), [rows, stride], 'float32'));
  packed.set(values.dataId, copy);
  disposer.register(values.dataId, copy);
  return copy;
}
