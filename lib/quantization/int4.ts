/**
 * @file INT4 matrices, whose weights are 4 bits with a scale a group of inputs, and quantizing to them with the arithmetic of
 * NNCF's `compress_weights` (in the form that widens the asymmetric range to hold 0; held by spec/fixtures/nncf). Typed
 * arrays only; knows nothing of TensorFlow.js.
 *
 * The layout is of this project: a row of a matrix [K, N] is what one input is multiplied by, so that a masked input's weights
 * lie together and need not be read. Groups run along the rows.
 */
import {SparsifyError} from '../errors.js';
import {FLAG, checkOptions, count, required, type OptionRules} from '../option-rules.js';
import {float16Bits, float16FromBits, roundToFloat16} from './float16.js';
import {asymmetricScale, clamp, roundToEven, symmetricScale, zeroPointOf} from './steps.js';

/** How weights are quantized: 16 steps over [min, max] with 0 among them, or over [-m, m] without a zero point. */
export type Int4Mode = 'int4_asym' | 'int4_sym';

export const INT4_MODES: readonly Int4Mode[] = ['int4_asym', 'int4_sym'];

/**
 * What a weight is, of q in 0 to 15: `asym`, `float16(scale * (q - zeroPoint))`; `sym`, `float16(scale * (q - 8))`;
 * `minimum`, `scale * q + minimum` in float32, which is how GGUF files hold them.
 */
export type Int4Kind = 'asym' | 'sym' | 'minimum';

export const INT4_KINDS: readonly Int4Kind[] = ['asym', 'sym', 'minimum'];

/** The value of a symmetric matrix that stands for 0. */
export const SYMMETRIC_ZERO = 8;

/** The extent of a matrix and of its groups. */
export interface Int4Shape {
  /** K, the inputs. */
  readonly rows: number;
  /** N, the outputs. */
  readonly columns: number;
  /** Rows that share a scale; divides `rows`. */
  readonly groupSize: number;
}

/** A quantized matrix [K, N] of G = K / groupSize groups; W is `wordsOf(N)`. */
export interface Int4Values extends Int4Shape {
  readonly kind: Int4Kind;
  /**
   * Little-endian words [K, W]. Every 8 bytes of a row hold 16 columns: byte j of block b has column 16 b + j in its lower half and
   * column 16 b + 8 + j in its upper one. What lies past the last column is 0.
   */
  readonly values: Int32Array;
  /** Words [G, ceil(N / 2)] of two float16 each, the even column in the lower half. Can be negative if symmetric. */
  readonly scale: Int32Array;
  /** Words [G, W], laid like rows of `values`; null unless the kind is `asym`. */
  readonly zeroPoint: Int32Array | null;
  /** Words [G, ceil(N / 2)], laid like `scale`; null unless the kind is `minimum`. */
  readonly minimum: Int32Array | null;
}

/** What to quantize: the matrix, and how its weights lie. */
export interface Int4Source extends Int4Shape {
  /** Whether the weights are given as [columns, rows], as checkpoints hold kernels. */
  readonly isTransposed?: boolean;
}

const SOURCE_RULES: OptionRules<Int4Source> = {
  rows: required('{rows: 1}', count()),
  columns: required('{columns: 1}', count()),
  groupSize: required('{groupSize: 64}', count()),
  isTransposed: FLAG,
};

/** Columns that 8 bytes hold. */
export const BLOCK_COLUMNS = 16;

const BLOCK_WORDS = 2;

/** Words after which a row's place in the caches repeats, and what is added to a row that would end there. */
const CACHE_SETS_WORDS = 512;
const PADDING_WORDS = 16;

/** Columns that are quantized together: a group of theirs fits the first-level cache, transposed or not. */
const PANEL_COLUMNS = 64;

/**
 * Words of a row of so many columns: 8 bytes for every 16 columns, and 64 bytes more where the row's bytes would be a multiple of
 * 2,048, since rows that far apart compete for the same places of a processor's caches (8 to 26 % of the time).
 */
export function wordsOf(columns: number): number {
  const words = BLOCK_WORDS * Math.ceil(columns / BLOCK_COLUMNS);
  return words % CACHE_SETS_WORDS === 0 ? words + PADDING_WORDS : words;
}

/** Words of a group's scales or minimums: two float16 each. */
export function halfWordsOf(columns: number): number {
  return Math.ceil(columns / 2);
}

/** A column's value in a row of a matrix. @param row Byte at which the row starts. */
export function nibbleAt(bytes: Uint8Array, row: number, column: number): number {
  return (bytes[row + 8 * (column >> 4) + (column & 7)] >> shiftOf(column)) & 15;
}

/** Sets a column's value in a row of a matrix that is still 0 there. @param row Byte at which the row starts. */
export function setNibble(bytes: Uint8Array, row: number, column: number, value: number): void {
  bytes[row + 8 * (column >> 4) + (column & 7)] |= value << shiftOf(column);
}

function shiftOf(column: number): number {
  return (column & 8) >> 1;
}

/**
 * Quantizes a matrix per group of rows and column.
 *
 * @param weights float32 [rows, columns], row-major, finite; [columns, rows] if `isTransposed`.
 * @throws {SparsifyError} `unsupported-mode`; `bad-group-size` if the groups do not divide the rows; `unknown-option`, `missing-option` or
 *   `bad-option` of the shape.
 * @example
 * const matrix = quantizeInt4(weights, {rows: 4096, columns: 11008, groupSize: 64}, 'int4_asym');
 */
export function quantizeInt4(weights: Float32Array, source: Int4Source, mode: Int4Mode): Int4Values {
  if (!INT4_MODES.includes(mode)) {
    throw new SparsifyError(
      'unsupported-mode',
      `the mode is ${JSON.stringify(mode)}; supported are "int4_asym" and "int4_sym"`,
      {got: mode, allowed: INT4_MODES},
    );
  }
  checkOptions('quantizeInt4', source, SOURCE_RULES);
  const {rows, columns, groupSize, isTransposed = false} = source;
  checkGroups(rows, groupSize);
  const groups = rows / groupSize;
  const isSymmetric = mode === 'int4_sym';
  const words = wordsOf(columns);
  const values = new Int32Array(rows * words);
  const scale = new Int32Array(groups * halfWordsOf(columns));
  const zeroPoint = isSymmetric ? null : new Int32Array(groups * words);
  const valueBytes = new Uint8Array(values.buffer);
  const zeroBytes = zeroPoint === null ? null : new Uint8Array(zeroPoint.buffer);
  const halves = new Uint16Array(scale.buffer);
  const rowStep = isTransposed ? 1 : columns;
  const columnStep = isTransposed ? rows : 1;
  const steps = new Float32Array(PANEL_COLUMNS);
  const zeros = new Float32Array(PANEL_COLUMNS);
  const [lowest, highest] = isSymmetric ? [-8, 7] : [0, 15];
  const stored = isSymmetric ? SYMMETRIC_ZERO : 0;
  for (let group = 0; group < groups; group++) {
    const firstRow = group * groupSize;
    for (let first = 0; first < columns; first += PANEL_COLUMNS) {
      const width = Math.min(PANEL_COLUMNS, columns - first);
      const start = firstRow * rowStep + first * columnStep;
      const {least, greatest} = extremes(weights, start, groupSize, rowStep, width, columnStep);
      for (let i = 0; i < width; i++) {
        if (isSymmetric) {
          steps[i] = symmetricScale(least[i], greatest[i], 8);
        } else {
          steps[i] = asymmetricScale(least[i], greatest[i], 15);
          zeros[i] = zeroPointOf(least[i], steps[i], 15);
          setNibble(zeroBytes!, 4 * group * words, first + i, zeros[i]);
        }
        halves[2 * group * halfWordsOf(columns) + first + i] = float16Bits(steps[i]);
      }
      for (let row = 0; row < groupSize; row++) {
        for (let i = 0, at = start + row * rowStep; i < width; i++, at += columnStep) {
          const q = roundToEven(Math.fround(Math.fround(weights[at] / steps[i]) + zeros[i]));
          const value = clamp(q, lowest, highest) + stored;
          setNibble(valueBytes, 4 * (firstRow + row) * words, first + i, value);
        }
      }
    }
  }
  const kind = isSymmetric ? 'sym' : 'asym';
  return {rows, columns, groupSize, kind, values, scale, zeroPoint, minimum: null};
}

function checkGroups(rows: number, groupSize: number): void {
  if (rows % groupSize === 0) return;
  throw new SparsifyError(
    'bad-group-size',
    `the group size is ${groupSize} for ${rows} rows; it must divide them: give one that does, or ${rows} for one group`,
    {rows, groupSize},
  );
}

/** The weights that a quantized matrix stands for: float32 [rows, columns], row-major. */
export function dequantizeInt4(matrix: Int4Values): Float32Array {
  const {rows, columns} = matrix;
  const weights = new Float32Array(rows * columns);
  const steps = new Int4Steps(matrix);
  for (let row = 0; row < rows; row++) steps.dequantizeRow(row, weights, row * columns);
  return weights;
}

/** The scales and offsets of one group of a matrix after the other as float64, and rows by them. */
export class Int4Steps {
  /** Of the group's columns. */
  readonly scale: Float64Array;
  /** Of the group's columns: zero points, 8 where the kind has none; minimums of the kind `minimum`. */
  readonly offset: Float64Array;
  private readonly bytes: Uint8Array;
  private group = -1;

  constructor(private readonly matrix: Int4Values) {
    const {columns, values} = matrix;
    this.scale = new Float64Array(columns);
    this.offset = new Float64Array(columns).fill(SYMMETRIC_ZERO);
    this.bytes = bytesOf(values);
  }

  /** Reads a group's scales and offsets, unless they are there already. */
  select(group: number): void {
    if (group === this.group) return;
    this.group = group;
    const {columns, scale, zeroPoint, minimum} = this.matrix;
    readHalves(scale, group, this.scale);
    if (minimum !== null) readHalves(minimum, group, this.offset);
    if (zeroPoint === null) return;
    const bytes = bytesOf(zeroPoint);
    const row = 4 * group * wordsOf(columns);
    for (let n = 0; n < columns; n++) this.offset[n] = nibbleAt(bytes, row, n);
  }

  /** Dequantizes a row. @param weights Written from `offset` on. */
  dequantizeRow(row: number, weights: Float32Array, offset: number): void {
    const {columns, groupSize, kind} = this.matrix;
    this.select(Math.floor(row / groupSize));
    const start = 4 * row * wordsOf(columns);
    if (kind === 'minimum') {
      for (let n = 0; n < columns; n++) {
        // The product has at most 15 bits and the sum fits a float64, so that float32 rounds once, as it is stored.
        weights[offset + n] = this.scale[n] * nibbleAt(this.bytes, start, n) + this.offset[n];
      }
      return;
    }
    for (let n = 0; n < columns; n++) {
      const steps = nibbleAt(this.bytes, start, n) - this.offset[n];
      weights[offset + n] = roundToFloat16(this.scale[n] * steps);
    }
  }
}

/** The largest magnitude that a value of 4 bits could stand for in a matrix, in one of its columns and groups. */
export function reachOf(matrix: Int4Values): number {
  const steps = new Int4Steps(matrix);
  let reach = 0;
  for (let group = 0; group < matrix.rows / matrix.groupSize; group++) {
    steps.select(group);
    for (let n = 0; n < matrix.columns; n++) {
      const [scale, offset] = [steps.scale[n], steps.offset[n]];
      const ends =
        matrix.kind === 'minimum' ? [offset, 15 * scale + offset] : [scale * offset, scale * (15 - offset)];
      reach = Math.max(reach, Math.abs(ends[0]), Math.abs(ends[1]));
    }
  }
  return reach;
}

/** The bytes of words that may be a part of a larger buffer. */
function bytesOf(words: Int32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

/** The float16 numbers of a group. */
function readHalves(words: Int32Array, group: number, numbers: Float64Array): void {
  const halves = new Uint16Array(words.buffer, words.byteOffset, words.length * 2);
  const first = 2 * group * halfWordsOf(numbers.length);
  for (let n = 0; n < numbers.length; n++) numbers[n] = float16FromBits(halves[first + n]);
}

/** The least and the greatest weight of each column of a panel. */
function extremes(
  weights: Float32Array,
  start: number,
  rows: number,
  rowStep: number,
  columns: number,
  columnStep: number,
) {
  const least = new Float32Array(columns).fill(Infinity);
  const greatest = new Float32Array(columns).fill(-Infinity);
  for (let row = 0; row < rows; row++) {
    for (let i = 0, at = start + row * rowStep; i < columns; i++, at += columnStep) {
      const weight = weights[at];
      if (weight < least[i]) least[i] = weight;
      if (weight > greatest[i]) greatest[i] = weight;
    }
  }
  return {least, greatest};
}
