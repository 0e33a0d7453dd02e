/**
 * @file Weights in the memory of tfjs-node's libtensorflow, filled and read piece by piece. A tensor made from a
 * typed array stays in JavaScript until its first use, then is copied, and the array waits for the garbage collector:
 * a model would lie in memory twice after its first prediction. So a large tensor is made empty by TensorFlow and
 * filled by rows, in place (ops `Empty` and `InplaceUpdate`), and read by slices.
 */

import * as tf from '@tensorflow/tfjs';

/** What tfjs-node's backend has beyond the public type. */
interface TensorflowBackend {
  readonly binding: Readonly<Record<'TF_ATTR_BOOL' | 'TF_ATTR_TYPE' | TensorflowType, number>>;
  readonly tensorMap: {get(dataId: object): {readonly values: tf.TypedArray | null} | undefined};
  executeSingleOutput(op: string, attrs: readonly object[], inputs: readonly tf.Tensor[]): tf.Tensor;
}

type TensorflowType = 'TF_FLOAT' | 'TF_INT32' | 'TF_BOOL';

const TYPES: Readonly<Record<string, TensorflowType>> = {
  float32: 'TF_FLOAT',
  int32: 'TF_INT32',
  bool: 'TF_BOOL',
};

/** The backend if it is tfjs-node's, else undefined. */
export function tensorflowBackend(): TensorflowBackend | undefined {
  return tf.getBackend() === 'tensorflow' ? (tf.backend() as unknown as TensorflowBackend) : undefined;
}

/** Whether a tensor's values still lie in JavaScript, so that reading them copies nothing. */
export function liesInJavaScript(tensor: tf.Tensor, backend: TensorflowBackend): boolean {
  return (backend.tensorMap.get(tensor.dataId)?.values ?? null) !== null;
}

/** A tensor of TensorFlow's that is being filled from front to back, by whole rows. */
export class TensorflowTensor {
  private filled = 0;

  private constructor(
    private readonly backend: TensorflowBackend,
    private readonly matrix: tf.Tensor2D,
    private readonly shape: number[],
  ) {}

  /**
   * Makes a tensor without values.
   *
   * @param maxValues Rows are made no longer than this.
   * @returns Undefined if this backend cannot, or if there is no such cut of the shape into rows.
   */
  static create(shape: number[], dtype: tf.DataType, maxValues: number): TensorflowTensor | undefined {
    const backend = tensorflowBackend();
    const size = tf.util.sizeFromShape(shape);
    const columns = rowLength(shape, size, maxValues);
    if (backend === undefined || columns === undefined || !supports(backend, dtype)) return undefined;
    return new TensorflowTensor(backend, emptyMatrix(backend, [size / columns, columns], dtype), shape);
  }

  /** How many values `append` takes at least, except the last time: a row. */
  get rowValues(): number {
    return this.matrix.shape[1];
  }

  /** Copies the next values into it: whole rows. */
  append(values: tf.TypedArray): void {
    const [, columns] = this.matrix.shape;
    const rows = values.length / columns;
    tf.tidy(() => {
      const indices = tf.range(this.filled, this.filled + rows, 1, 'int32'); // [rows]
      const piece = tf.tensor2d(values, [rows, columns], this.matrix.dtype);
      update(this.backend, this.matrix, indices, piece);
    });
    this.filled += rows;
  }

  /** The tensor; the caller owns it. */
  finish(): tf.Tensor {
    const tensor = this.matrix.reshape(this.shape); // the same memory
    this.matrix.dispose();
    return tensor;
  }

  dispose(): void {
    this.matrix.dispose();
  }
}

/** The longest row of at most `maxValues` values of which the tensor has a whole number. */
function rowLength(shape: readonly number[], size: number, maxValues: number): number | undefined {
  if (size === 0) return undefined;
  let columns = 1;
  for (const dimension of [...shape].reverse()) {
    if (columns * dimension > maxValues) {
      // This dimension is cut too, as far as a power of two allows.
      for (let part = dimension; part % 2 === 0 && part > 1;) {
        part /= 2;
        if (columns * part <= maxValues) return columns * part;
      }
      return columns > 1 ? columns : undefined; // one value a row would take hours
    }
    columns *= dimension;
  }
  return columns;
}

const supported = new WeakMap<TensorflowBackend, Map<tf.DataType, boolean>>();

/** Whether TensorFlow has both ops for a dtype: the GPU's set of kernels is smaller. Tried once. */
function supports(backend: TensorflowBackend, dtype: tf.DataType): boolean {
  const known = supported.get(backend) ?? new Map<tf.DataType, boolean>();
  supported.set(backend, known);
  let answer = known.get(dtype);
  if (answer === undefined) {
    try {
      answer = tf.tidy(() => {
        const matrix = emptyMatrix(backend, [2, 2], dtype);
        const piece = tf.tensor2d([0, 1, 1, 0], [2, 2], dtype);
        update(backend, matrix, tf.range(0, 2, 1, 'int32'), piece);
        return matrix.dataSync().join() === '0,1,1,0'; // in place, not in a copy
      });
    } catch {
      answer = false;
    }
    known.set(dtype, answer);
  }
  return answer;
}

function emptyMatrix(backend: TensorflowBackend, shape: [number, number], dtype: tf.DataType): tf.Tensor2D {
  const {TF_ATTR_BOOL, TF_ATTR_TYPE, [TYPES[dtype]]: type} = backend.binding;
  const attrs = [
    {name: 'dtype', type: TF_ATTR_TYPE, value: type},
    {name: 'init', type: TF_ATTR_BOOL, value: false},
  ];
  const shapeTensor = tf.tensor1d(shape, 'int32');
  try {
    return backend.executeSingleOutput('Empty', attrs, [shapeTensor]) as tf.Tensor2D;
  } finally {
    shapeTensor.dispose();
  }
}

/** matrix[indices] = piece, in the memory of `matrix`. */
function update(backend: TensorflowBackend, matrix: tf.Tensor2D, indices: tf.Tensor, piece: tf.Tensor): void {
  const attrs = [
    {name: 'T', type: backend.binding.TF_ATTR_TYPE, value: backend.binding[TYPES[matrix.dtype]]},
  ];
  backend.executeSingleOutput('InplaceUpdate', attrs, [matrix, indices, piece]).dispose();
}
