/** @file Tensors as JSON has them, nested or flat arrays: read with every value checked, and written. */
import {badRequest} from './http-errors.js';
import {
  emptyValues,
  sizeOf,
  type TensorInfo,
  type TensorType,
  type TensorValues,
  type WireTensor,
} from './tensors.js';

type Check = (value: unknown) => boolean;

const CHECKS: Readonly<Record<TensorType, readonly [check: Check, allowed: string]>> = {
  // What is finite as JSON may not be as float32.
  float32: [(value) => typeof value === 'number' && Number.isFinite(Math.fround(value)), 'a finite number'],
  int32: [(value) => typeof value === 'number' && value === (value | 0), 'a whole number of 32 bits'],
  bool: [(value) => typeof value === 'boolean', 'true or false'],
};

/**
 * Reads nested arrays whose depth is the rank that the model takes.
 *
 * @throws {ServeError} 400 for ragged rows, other depths, and values that are not of the dtype.
 */
export function nestedTensor(json: unknown, {name, dtype, shape: {length: rank}}: TensorInfo): WireTensor {
  const shape: number[] = [];
  let inner = json;
  for (let depth = 0; depth < rank; depth++) {
    if (!Array.isArray(inner)) {
      throw badRequest(
        `input "${name}" is nested ${depth} deep; the model takes ${rank} dimensions, batch first`,
      );
    }
    shape.push(inner.length);
    inner = inner[0] as unknown;
  }
  return filled(json, shape, {name, dtype, size: sizeOf(shape, name)});
}

/**
 * Reads the data of a tensor whose shape is given: a flat array, or a nested one of that shape.
 *
 * @throws {ServeError} 400 as `nestedTensor`, and if the values are not as many as the shape has.
 */
export function shapedTensor(
  json: unknown,
  {
    name,
    dtype,
    shape,
  }: {readonly name: string; readonly dtype: TensorType; readonly shape: readonly number[]},
): WireTensor {
  const size = sizeOf(shape, name);
  if (!Array.isArray(json)) throw badRequest(`the data of "${name}" is no array`);
  const isNested = shape.length > 1 && Array.isArray(json[0]);
  if (!isNested && json.length !== size) {
    throw badRequest(`"${name}" has ${json.length} values; its shape [${shape}] needs ${size}`);
  }
  return {...filled(json, isNested ? shape : [size], {name, dtype, size}), shape};
}

/** A tensor of nested arrays. Memory is taken for what is there, not for what the first row and column promise. */
function filled(
  json: unknown,
  shape: readonly number[],
  {name, dtype, size}: {readonly name: string; readonly dtype: TensorType; readonly size: number},
): WireTensor {
  checkRows(json, shape, 0, name);
  const values = emptyValues(dtype, size);
  fill(values, 0, json as unknown[], shape.length - 1, dtype, name);
  return {dtype, shape, values};
}

/** Looks at the lengths of all arrays, and at no value. Depth is bounded by the shape's. */
function checkRows(json: unknown, shape: readonly number[], depth: number, name: string): void {
  if (!Array.isArray(json) || json.length !== shape[depth]) {
    const got = Array.isArray(json) ? `an array of ${json.length}` : typeof json;
    throw badRequest(`"${name}" is ragged: ${got} beside arrays of ${shape[depth]} in dimension ${depth}`);
  }
  if (depth < shape.length - 1)
    for (const child of json as unknown[]) checkRows(child, shape, depth + 1, name);
}

/** Writes the values of one array, which is so many arrays deep, into place; returns where the next one begins. */
function fill(
  values: TensorValues,
  start: number,
  json: readonly unknown[],
  depth: number,
  dtype: TensorType,
  name: string,
): number {
  if (depth > 0) {
    for (const child of json) start = fill(values, start, child as unknown[], depth - 1, dtype, name);
    return start;
  }
  const [isRight, allowed] = CHECKS[dtype];
  for (const value of json) {
    if (!isRight(value)) {
      const got = Array.isArray(value) ? 'an array' : JSON.stringify(value)?.slice(0, 40);
      throw badRequest(`value ${start} of "${name}" is ${got}; it must be ${allowed}`);
    }
    values[start++] = Number(value);
  }
  return start;
}

/**
 * A tensor as nested JSON arrays. Values that JSON has no word for are written as NaN, Infinity and -Infinity, as
 * TensorFlow Serving does.
 */
export function nestedJson({dtype, shape, values}: WireTensor, depth = 0, start = 0): string {
  if (depth === shape.length) return valueJson(dtype, values[start]);
  const stride = shape.slice(depth + 1).reduce((product, size) => product * size, 1);
  if (depth === shape.length - 1) {
    return flatJson({dtype, shape: [shape[depth]], values: values.subarray(start, start + shape[depth])});
  }
  const children = Array.from({length: shape[depth]}, (_, i) =>
    nestedJson({dtype, shape, values}, depth + 1, start + i * stride),
  );
  return `[${children.join(',')}]`;
}

/** All values in one JSON array. */
export function flatJson({dtype, values}: WireTensor): string {
  if (dtype !== 'bool') return `[${values.join(',')}]`;
  return `[${Array.from(values, (value) => valueJson(dtype, value)).join(',')}]`;
}

/** One row of a batch as nested JSON. */
export function rowJson({dtype, shape, values}: WireTensor, row: number): string {
  const stride = values.length / shape[0];
  return nestedJson({
    dtype,
    shape: shape.slice(1),
    values: values.subarray(row * stride, (row + 1) * stride),
  });
}

function valueJson(dtype: TensorType, value: number): string {
  return dtype === 'bool' ? String(value !== 0) : String(value);
}
