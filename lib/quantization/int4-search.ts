/**
 * @file INT4 matrices made row by row, where each weight has a target of its own and each row an importance: a group's scale and zero
 * point are searched around those of NNCF, for the least squared error of the targets, weighted by importance. Typed arrays only.
 */
import {float16Bits, roundToFloat16} from './float16.js';
import {
  SYMMETRIC_ZERO,
  halfWordsOf,
  setNibble,
  wordsOf,
  type Int4Mode,
  type Int4Shape,
  type Int4Values,
} from './int4.js';
import {asymmetricScale, clamp, roundToEven, symmetricScale, zeroPointOf} from './steps.js';

/** Of NNCF's scale, which covers the whole range: the first stands where no other is better. */
const SCALE_FACTORS = [1, 0.96, 0.92, 0.88, 0.84, 0.8, 0.76, 0.72, 1.04];

/** Added to the zero point that a scale asks for. */
const ZERO_POINT_SHIFTS = [0, -1, 1];

/** The least positive float16. */
const MIN_FLOAT16 = 2 ** -24;

const HIGHEST = 15;

/** A matrix that is being quantized: for each group in turn, `startGroup`, then `quantizeRow` for each of its rows. */
export class Int4Search {
  private readonly values: Int32Array;
  private readonly scale: Int32Array;
  private readonly zeroPoint: Int32Array | null;
  /** Of the columns of the current group. */
  private readonly steps: Float64Array;
  private readonly zeros: Float64Array;
  private readonly words: number;

  constructor(
    private readonly shape: Int4Shape,
    private readonly mode: Int4Mode,
  ) {
    const {rows, columns, groupSize} = shape;
    const groups = rows / groupSize;
    this.words = wordsOf(columns);
    this.values = new Int32Array(rows * this.words);
    this.scale = new Int32Array(groups * halfWordsOf(columns));
    this.zeroPoint = mode === 'int4_sym' ? null : new Int32Array(groups * this.words);
    this.steps = new Float64Array(columns);
    this.zeros = new Float64Array(columns).fill(SYMMETRIC_ZERO);
  }

  /**
   * Chooses the scales and zero points of a group.
   *
   * @param targets [groupSize, columns], row-major.
   * @param importance Of each row of the group, positive.
   */
  startGroup(group: number, targets: Float32Array, importance: Float64Array): void {
    const {columns, groupSize} = this.shape;
    const halves = new Uint16Array(this.scale.buffer);
    const zeroBytes = this.zeroPoint && new Uint8Array(this.zeroPoint.buffer);
    const column = new Float64Array(groupSize);
    for (let n = 0; n < columns; n++) {
      for (let k = 0; k < groupSize; k++) column[k] = targets[k * columns + n];
      const {step, zero} = searchGrid(column, importance, this.mode);
      this.steps[n] = step;
      this.zeros[n] = zero;
      halves[2 * group * halfWordsOf(columns) + n] = float16Bits(step);
      if (zeroBytes !== null) setNibble(zeroBytes, 4 * group * this.words, n, zero);
    }
  }

  /**
   * Rounds the targets of a row of the current group.
   *
   * @param targets From `offset` on, one a column; overwritten by what the integers stand for.
   */
  quantizeRow(row: number, targets: Float32Array, offset: number): void {
    const bytes = new Uint8Array(this.values.buffer);
    for (let n = 0; n < this.shape.columns; n++) {
      const step = this.steps[n];
      const zero = this.zeros[n];
      const q = clamp(roundToEven(targets[offset + n] / step + zero), 0, HIGHEST);
      setNibble(bytes, 4 * row * this.words, n, q);
      targets[offset + n] = roundToFloat16(step * (q - zero));
    }
  }

  result(): Int4Values {
    const {shape, values, scale, zeroPoint} = this;
    const kind = this.mode === 'int4_sym' ? 'sym' : 'asym';
    return {...shape, kind, values, scale, zeroPoint, minimum: null};
  }
}

/** The scale, a float16 number, and the zero point with the least weighted error for one column of a group. */
function searchGrid(
  column: Float64Array,
  importance: Float64Array,
  mode: Int4Mode,
): {step: number; zero: number} {
  let [least, greatest] = [Infinity, -Infinity];
  for (const target of column) {
    if (target < least) least = target;
    if (target > greatest) greatest = target;
  }
  const isSymmetric = mode === 'int4_sym';
  const widest = isSymmetric
    ? symmetricScale(least, greatest, SYMMETRIC_ZERO)
    : asymmetricScale(least, greatest, HIGHEST);
  let best = {step: NaN, zero: SYMMETRIC_ZERO};
  let bestError = Infinity;
  for (const factor of SCALE_FACTORS) {
    const step = roundToFloat16(widest * factor) || MIN_FLOAT16;
    const center = isSymmetric ? SYMMETRIC_ZERO : zeroPointOf(least, step, HIGHEST);
    for (const shift of isSymmetric ? [0] : ZERO_POINT_SHIFTS) {
      const zero = center + shift;
      if (zero < 0 || zero > HIGHEST) continue;
      const error = gridError(column, importance, step, zero);
      if (error < bestError || Number.isNaN(best.step)) {
        bestError = error;
        best = {step, zero};
      }
    }
  }
  return best;
}

function gridError(column: Float64Array, importance: Float64Array, step: number, zero: number): number {
  const inverse = 1 / step;
  let sum = 0;
  for (let k = 0; k < column.length; k++) {
    const place = column[k] * inverse + zero;
    const q = place <= 0 ? 0 : place >= HIGHEST ? HIGHEST : (place + 0.5) | 0;
    const error = q - place;
    sum += importance[k] * error * error;
  }
  return sum * step * step;
}
