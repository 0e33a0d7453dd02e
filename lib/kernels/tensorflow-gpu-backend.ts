/**
 * @file `SparsifiedMatMul` on tfjs-node-gpu, by CUDA kernels that are TensorFlow ops of our own: an addon
 * (native/cuda/) that registers them with the libtensorflow of this process. Few rows skip rows of the kernel, more are
 * masked and multiplied by TensorFlow's MatMul, which is cuBLAS. Nothing waits for the device.
 */
import * as tf from '@tensorflow/tfjs';
import type {FusedActivation} from './activations.js';
import {
  SPARSIFIED_MATMUL,
  leadingSize,
  type SparsifiedMatMulAttrs,
  type SparsifiedMatMulInputs,
} from './sparsified-matmul-kernel.js';
import {SPARSIFIED_MATMUL_INT8, type Int8Matrix, type SparsifiedMatMulInt8Inputs} from './int8-kernels.js';
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
/** INT8 kernels are multiplied in batches of 8 rows up to this many; beyond, they are dequantized by blocks. */
const MAX_INT8_ROWS = 64;
/** The CUDA kernel's list holds an input's index in 24 bits. */
const MAX_INPUTS = 2 ** 24;
/** Rows of a packed kernel are padded to a multiple of this many bytes. */
const PACKED_ROW_BYTES = 16;

let registered: GpuKernels | undefined;

/**
 * Registers the ops with TensorFlow, and `SparsifiedMatMul` and its INT8 form for backend `tensorflow`. A second call
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
  const packedWords = words.map((tensor) => packedOnDevice(tensor as tf.Tensor2D));
  return prepareDecoder(native, numbers, weights, packedWords);
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
  if (bias === undefined && activation === 'linear') return withRows(product, x.shape);
  const y = backend.executeSingleOutput('SparsifyBiasActivation', attrs, [product, ...biases]); // [rows, N]
  product.dispose();
  return withRows(y, x.shape);
}

function multiplyInt8(
  {x, values, scale, zeroPoint, threshold, bias}: SparsifiedMatMulInt8Inputs,
  activation: FusedActivation,
  backend: TensorflowBackend,
): tf.TensorInfo {
  const [inputSize] = values.shape;
  if (leadingSize(x.shape) > MAX_INT8_ROWS || inputSize > MAX_INPUTS) {
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
    [x, packedOnDevice(values as tf.Tensor2D), threshold, scale, zeroPoint, ...biases],
  ); // [..., N]
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
function packedOnDevice(values: tf.Tensor2D): tf.Tensor2D {
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
