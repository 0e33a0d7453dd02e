/** @file Packed matrices of whichever format: their extent, and their parts as a kernel takes them. */
import type * as tf from '@tensorflow/tfjs';
import {SparsifyError} from '../errors.js';
import {INT4_KINDS, halfWordsOf, wordsOf} from '../quantization/int4.js';
import {SPARSIFIED_MATMUL_INT4, isInt4Matrix, type Int4Matrix} from './int4-kernels.js';
import {SPARSIFIED_MATMUL_INT8, type Int8Matrix} from './int8-kernels.js';

/** A matrix [K, N]; one that is INT8 has a scale a column. */
export type CompressedMatrix = Int8Matrix | Int4Matrix;

/** Whether a kernel is packed rather than a float32 tensor. */
export function isCompressedMatrix(kernel: tf.Tensor | CompressedMatrix): kernel is CompressedMatrix {
  return 'values' in kernel;
}

/** [K, N]. */
export function matrixShape(matrix: CompressedMatrix): [number, number] {
  return [matrix.values.shape[0], isInt4Matrix(matrix) ? matrix.columns : matrix.scale.size];
}

/** The name of the kernel that multiplies by a matrix. */
export function multiplierOf(matrix: CompressedMatrix): string {
  return isInt4Matrix(matrix) ? SPARSIFIED_MATMUL_INT4 : SPARSIFIED_MATMUL_INT8;
}

/** A matrix's tensors, under the names of a kernel's inputs. */
export function tensorsOf(matrix: CompressedMatrix): Record<string, tf.Tensor2D> {
  const parts = Object.entries(matrix).filter(([, part]) => typeof part === 'object');
  return Object.fromEntries(parts);
}

/** What a kernel must know of a matrix beside its tensors: its attributes. */
export function attrsOf(matrix: CompressedMatrix): Record<string, number | string> {
  const parts = Object.entries(matrix).filter(([, part]) => typeof part !== 'object');
  return Object.fromEntries(parts);
}

/** @throws {SparsifyError} `shape-mismatch` if the parts of a matrix do not belong together. */
export function checkMatrix(matrix: CompressedMatrix): void {
  if (isInt4Matrix(matrix)) checkInt4(matrix);
  else checkInt8(matrix);
}

function checkInt8({values, scale, zeroPoint}: Int8Matrix): void {
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

function checkInt4(matrix: Int4Matrix): void {
  const {values, columns, groupSize, kind} = matrix;
  const groups = values.shape[0] / groupSize;
  const [rows, halves] = [wordsOf(columns), halfWordsOf(columns)];
  const expected: Record<string, number[]> = {
    values: [values.shape[0], rows],
    scale: [groups, halves],
    ...(kind === 'asym' ? {zeroPoint: [groups, rows]} : {}),
    ...(kind === 'minimum' ? {minimum: [groups, halves]} : {}),
  };
  const given = Object.fromEntries(Object.entries(tensorsOf(matrix)).map(([name, {shape}]) => [name, shape]));
  const areWords = Object.values(tensorsOf(matrix)).every(({dtype}) => dtype === 'int32');
  const isKnown = Number.isInteger(groups) && INT4_KINDS.includes(kind);
  const names = Object.keys({...expected, ...given});
  if (areWords && isKnown && names.every((name) => String(expected[name]) === String(given[name]))) return;
  const shown = (shapes: Record<string, number[]>) =>
    Object.entries(shapes)
      .map(([name, shape]) => `${name} [${shape}]`)
      .join(', ');
  throw new SparsifyError(
    'shape-mismatch',
    `sparsifiedMatMul: an INT4 kernel of kind "${kind}", ${columns} columns and groups of ${groupSize} has ${shown(given)}; ` +
      `give int32 ${shown(expected)}, and groups that divide the inputs`,
    {given, expected, columns, groupSize, kind},
  );
}
