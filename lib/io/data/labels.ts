/** @file Files of what a model should have answered: classes, one-hot rows, or targets of a regression. */

import {FileError} from '../../errors.js';
import {asFloat32} from './array-batches.js';
import type {NumericArray} from './npy-values.js';
import {openArrays} from './data-files.js';

/** The right class of every item. */
export interface ClassLabels {
  readonly kind: 'classes';
  /** int32 [items], from 0. */
  readonly values: Int32Array;
  readonly shape: readonly [number];
}

/** The right output for every item. */
export interface TargetLabels {
  readonly kind: 'targets';
  /** float32, row-major, of `shape`. */
  readonly values: Float32Array;
  /** [items, ...]. */
  readonly shape: readonly number[];
}

/** What `readLabels` returns; `kind` tells which. */
export type Labels = ClassLabels | TargetLabels;

/** Which array of a `.npz` with several holds the labels. */
const LABELS_NAME = 'labels';

/**
 * Reads the labels of a data set. Whole numbers from 0, [items] or [items, 1], of any dtype are classes, and so
 * are rows of zeros with a single one; all else is targets. Whoever evaluates a model with one output takes
 * the classes for targets.
 *
 * @param path A `.npy` file, a `.npz` file with one array or one called `labels`, or a `.jsonl` file with a
 *     number or an array per line.
 * @returns All labels, in the order of the file.
 * @throws FileError `empty-file`, `unsupported-format`, or the codes of the format for a malformed file.
 */
export async function readLabels(path: string): Promise<Labels> {
  const {values, shape} = await readWhole(path);
  const items = shape[0];
  const rowSize = values.length / items;
  const isClass = (value: number) => Number.isInteger(value) && value >= 0 && value < 2 ** 31;
  if (rowSize === 1 && shape.length <= 2 && values.every(isClass)) {
    return {kind: 'classes', values: Int32Array.from(values), shape: [items]};
  }
  const classes = shape.length === 2 ? oneHotClasses(values, rowSize) : undefined;
  if (classes !== undefined) return {kind: 'classes', values: classes, shape: [items]};
  return {kind: 'targets', values: asFloat32(values, path), shape};
}

/** The class of every row, or undefined if a row is not all zeros and a single one. */
function oneHotClasses(values: NumericArray['values'], rowSize: number): Int32Array | undefined {
  const classes = new Int32Array(values.length / rowSize);
  for (let i = 0; i < classes.length; i++) {
    const row = values.subarray(i * rowSize, (i + 1) * rowSize);
    classes[i] = row.indexOf(1);
    if (classes[i] < 0 || row.some((value, column) => value !== (column === classes[i] ? 1 : 0)))
      return undefined;
  }
  return classes;
}

async function readWhole(path: string): Promise<NumericArray> {
  for await (const batch of openArrays(path, undefined, true).batches(Number.MAX_SAFE_INTEGER)) {
    const array = batch.size === 1 ? [...batch.values()][0] : batch.get(LABELS_NAME);
    if (array === undefined) {
      throw new FileError(
        'unknown-name',
        `${path} has several arrays (${[...batch.keys()].join(', ')}); the one with the labels must be called "${LABELS_NAME}"`,
        {path, known: [...batch.keys()]},
      );
    }
    if (array.values.length > 0) return array;
  }
  throw new FileError('empty-file', `${path} holds no labels`, {path});
}
