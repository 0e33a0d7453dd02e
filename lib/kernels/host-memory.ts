/**
 * @file Compressed kernels that lie in the host's memory on the backends wasm and tensorflow (tfjs-node), for the loops in plain
 * TypeScript: one pass there is many times faster than a dozen stock operations.
 */
import * as tf from '@tensorflow/tfjs';
import type {Int4Values} from '../quantization/int4.js';
import type {Int4Matrix} from './int4-kernels.js';
import type {Int8Matrix} from './int8-kernels.js';
import type {Int8Arrays} from './int8-loops.js';

/** What these backends have beyond the public type. */
interface HostBackend {
  /** Of wasm: its tensors; to get one moves it there from the backend that has it. */
  readonly dataIdMap?: {get(dataId: object): object};
  /** Of wasm: a view of a tensor's memory, valid until the next tensor is made. */
  typedArrayFromHeap?(info: tf.TensorInfo): tf.TypedArray;
  /** Of tensorflow: whether it is tfjs-node-gpu, whose weights stay on the device. */
  readonly isGPUPackage?: boolean;
}

/** Whether the current backend is one of these. */
export function isOnHost(): boolean {
  const name = tf.getBackend();
  return name === 'wasm' || (name === 'tensorflow' && (tf.backend() as HostBackend).isGPUPackage !== true);
}

/** The numbers of a matrix; its words are those of {@link readWords}. */
export function readInt8Matrix({values, scale, zeroPoint}: Int8Matrix): Int8Arrays {
  const [scales, zeroPoints] = [readFloats(scale), readFloats(zeroPoint)];
  return {words: readWords(values), scale: scales, zeroPoint: zeroPoints};
}

/** The numbers of a matrix; its values are those of {@link readWords}. */
export function readInt4Matrix({values, scale, zeroPoint, minimum, ...attrs}: Int4Matrix): Int4Values {
  const copy = (tensor: tf.TensorInfo) => tf.engine().readSync(tensor.dataId) as Int32Array;
  const [scales, zeroPoints, minimums] = [scale, zeroPoint, minimum].map((tensor) =>
    tensor ? copy(tensor) : null,
  );
  return {
    ...attrs,
    rows: values.shape[0],
    scale: scales!,
    zeroPoint: zeroPoints,
    minimum: minimums,
    values: readWords(values),
  };
}

/**
 * The words of a matrix. On wasm they are a view, valid until the next tensor is made or moved there: whatever else is to be read
 * comes first. They are a copy on tensorflow: 2 ms of the 20 ms that one row takes at 2048 x 5632.
 */
function readWords({dataId, shape, dtype}: tf.TensorInfo): Int32Array {
  const heap = tf.backend() as HostBackend;
  heap.dataIdMap?.get(dataId); // for the first time this can grow the heap, which ends views
  return (heap.typedArrayFromHeap?.({dataId, shape, dtype}) ?? tf.engine().readSync(dataId)) as Int32Array;
}

/** A copy of a tensor's numbers. By its data, since what a kernel gets has no methods. */
export function readFloats({dataId}: tf.TensorInfo): Float32Array {
  return tf.engine().readSync(dataId) as Float32Array;
}
