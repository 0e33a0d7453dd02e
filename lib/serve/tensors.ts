/**
 * @file Tensors on their way between a request and a model: dtype, shape and values in row-major order; what a model
 * takes and gives; the checks that a request must pass before it reaches a worker.
 */
import {nearest} from '../errors.js';
import {badRequest} from './http-errors.js';

export type TensorType = 'float32' | 'int32' | 'bool';
export type TensorValues = Float32Array | Int32Array | Uint8Array;

export interface WireTensor {
  readonly dtype: TensorType;
  readonly shape: readonly number[];
  /** Float32Array for float32, Int32Array for int32, Uint8Array of 0 and 1 for bool. */
  readonly values: TensorValues;
}

/** An input or output of a model; null is any size, the first dimension is the batch. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: TensorType;
  readonly shape: readonly (number | null)[];
}

/** What a model takes and gives, in its own order. */
export interface Signature {
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
}

/** Values of one request; far above what a body can hold. */
const MAX_VALUES = 2 ** 28;

interface ValueArray {
  readonly BYTES_PER_ELEMENT: number;
  new (size: number): TensorValues;
  new (buffer: ArrayBufferLike, byteOffset: number, size: number): TensorValues;
}

/** What holds the values of a dtype. */
export const VALUE_ARRAYS: Readonly<Record<TensorType, ValueArray>> = {
  float32: Float32Array,
  int32: Int32Array,
  bool: Uint8Array,
};

/** The array for values of a dtype, zeros. */
export function emptyValues(dtype: TensorType, size: number): TensorValues {
  return new VALUE_ARRAYS[dtype](size);
}

/**
 * How many values a shape has.
 *
 * @throws {ServeError} 400 for a dimension that is no whole number of 0 or more, or too many values.
 */
export function sizeOf(shape: readonly number[], name: string): number {
  let size = 1;
  for (const dimension of shape) {
    if (!Number.isSafeInteger(dimension) || dimension < 0) {
      throw badRequest(`the shape of "${name}" is [${shape}]; dimensions are whole numbers of 0 or more`);
    }
    size *= dimension;
  }
  if (size > MAX_VALUES) {
    throw badRequest(
      `"${name}" of shape [${shape}] has ${size} values; at most ${MAX_VALUES} are taken at once`,
    );
  }
  return size;
}

/**
 * The inputs of a request in the model's order.
 *
 * @throws {ServeError} 400 for a missing or unknown name, a wrong dtype or shape, or inputs of different batches.
 */
export function orderedInputs(
  {inputs}: Signature,
  given: ReadonlyMap<string, WireTensor>,
): readonly WireTensor[] {
  const names = inputs.map(({name}) => name);
  for (const name of given.keys()) {
    if (names.includes(name)) continue;
    const [near] = nearest(name, names);
    throw badRequest(
      `the model has no input "${name}"; it has ${names.join(', ')}` +
        (near === undefined ? '' : `: did you mean "${near}"?`),
    );
  }
  const ordered = inputs.map((info) => {
    const tensor = given.get(info.name);
    if (tensor === undefined) {
      throw badRequest(`input "${info.name}" is missing; the model takes ${names.join(', ')}`);
    }
    checkFits(info, tensor);
    return tensor;
  });
  const rows = ordered[0].shape[0];
  const other = ordered.findIndex(({shape}) => shape[0] !== rows);
  if (other > 0) {
    throw badRequest(
      `input "${names[other]}" has ${ordered[other].shape[0]} rows and "${names[0]}" ${rows}; all must have the same`,
    );
  }
  return ordered;
}

function checkFits({name, dtype, shape}: TensorInfo, tensor: WireTensor): void {
  if (tensor.dtype !== dtype) {
    throw badRequest(`input "${name}" is ${tensor.dtype}; the model takes ${dtype}`);
  }
  const fits =
    tensor.shape.length === shape.length &&
    shape.every((size, i) => (size === null ? tensor.shape[i] >= 1 : tensor.shape[i] === size));
  if (fits) return;
  const wanted = shape.map((size) => size ?? 'any').join(', ');
  throw badRequest(`input "${name}" has shape [${tensor.shape.join(', ')}]; the model takes [${wanted}]`);
}
