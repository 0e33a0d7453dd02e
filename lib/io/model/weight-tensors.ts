/**
 * @file One weight at a time between its stored bytes and its tensor, in pieces of 2 MiB, so that even a weight of
 * gigabytes costs its own memory and little more. Quantized weights are dequantized as TensorFlow.js does.
 */

import * as tf from '@tensorflow/tfjs';
import {io} from '@tensorflow/tfjs';

import type {GroupReader} from './group-reader.js';
import {weightsSize} from './model-json.js';
import {valuesAs} from '../../tensor-values.js';
import {liesInJavaScript, tensorflowBackend, TensorflowTensor} from './tensorflow-memory.js';

/** Small: a piece's memory comes back between weights, and what is left of it no weight fits into. */
const PIECE_BYTES = 2 * 1024 ** 2;
/** Smaller weights are not worth three ops. */
const MIN_EMPTY_BYTES = 64 * 1024;

/** Weights are being read one after the other, through one buffer. */
export class WeightReader {
  private readonly buffer = new ArrayBuffer(PIECE_BYTES);

  /**
   * Reads the next weight.
   *
   * @param reader Stands at the first byte of the weight.
   * @param spec The weight: float32, int32 or bool, possibly quantized.
   * @returns Its tensor, of the shape and dtype of `spec`; the caller owns it.
   * @throws FileError as `reader` does.
   */
  async read(reader: GroupReader, spec: io.WeightsManifestEntry): Promise<tf.Tensor> {
    const size = tf.util.sizeFromShape(spec.shape);
    const stored = weightsSize([{...spec, shape: [1]}]).bytes; // bytes of one value
    const perPiece = PIECE_BYTES / Math.max(stored, 4);
    const target =
      (size * stored >= MIN_EMPTY_BYTES && TensorflowTensor.create(spec.shape, spec.dtype, perPiece)) ||
      new ArrayTensor(spec, size);
    try {
      const whole = perPiece - (perPiece % target.rowValues);
      for (let start = 0; start < size; start += whole) {
        const count = Math.min(whole, size - start);
        const bytes = new Uint8Array(this.buffer, 0, count * stored);
        await reader.fill(bytes);
        this.append(target, bytes, {...spec, shape: [count]});
      }
      return target.finish();
    } catch (cause) {
      target.dispose();
      throw cause;
    }
  }

  private append(
    target: TensorflowTensor | ArrayTensor,
    bytes: Uint8Array<ArrayBuffer>,
    spec: io.WeightsManifestEntry,
  ): void {
    if (spec.quantization === undefined) {
      target.append(valuesOf(spec.dtype, bytes.buffer, spec.shape[0]));
      return;
    }
    const {[spec.name]: decoded} = io.decodeWeights(bytes.slice().buffer, [spec]);
    target.append(decoded.dataSync());
    decoded.dispose();
  }
}

/** A tensor whose values are gathered in one typed array. */
class ArrayTensor {
  readonly rowValues = 1;
  private readonly values: tf.TypedArray;
  private filled = 0;

  constructor(
    private readonly spec: io.WeightsManifestEntry,
    size: number,
  ) {
    this.values = valuesOf(spec.dtype, new ArrayBuffer(size * (spec.dtype === 'bool' ? 1 : 4)), size);
  }

  append(values: tf.TypedArray): void {
    this.values.set(values, this.filled);
    this.filled += values.length;
  }

  finish(): tf.Tensor {
    return tf.tensor(this.values, this.spec.shape, this.spec.dtype);
  }

  dispose(): void {} // the garbage collector's
}

function valuesOf(dtype: string, buffer: ArrayBuffer, length: number): tf.TypedArray {
  if (dtype === 'float32') return new Float32Array(buffer, 0, length);
  return dtype === 'int32' ? new Int32Array(buffer, 0, length) : new Uint8Array(buffer, 0, length);
}

/**
 * The bytes of a tensor as they are stored.
 *
 * @param tensor float32, int32 or bool.
 * @returns Its bytes in pieces: of 2 MiB where the tensor lies in TensorFlow's memory, else the whole, copied only where its array is not of its
 *   dtype.
 */
export async function* tensorBytes(tensor: tf.Tensor): AsyncGenerator<Uint8Array> {
  const backend = tensorflowBackend();
  if (backend === undefined || liesInJavaScript(tensor, backend)) {
    yield asBytes(valuesAs(tensor.dtype, await tensor.data()));
    return;
  }
  const perPiece = PIECE_BYTES / (tensor.dtype === 'bool' ? 1 : 4);
  for (let start = 0; start < tensor.size; start += perPiece) {
    const count = Math.min(perPiece, tensor.size - start);
    const piece = tf.tidy(() => tf.slice(tf.reshape(tensor, [-1]), start, count));
    const values = piece.dataSync(); // outside the tidy, which would look for tensors in every value
    piece.dispose();
    yield asBytes(values);
  }
}

function asBytes({buffer, byteOffset, byteLength}: tf.TypedArray): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
