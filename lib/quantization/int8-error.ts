/** @file What INT8 would lose of a matrix: the measure by which NNCF chooses the layers that can bear INT4. */
import {exactSteps, type MatrixShape} from './int8.js';
import {clamp, roundToEven} from './steps.js';

export interface Int8Error {
  /** The largest mean squared error of a channel. */
  readonly worst: number;
  /** The square root of the sum of all squared errors. */
  readonly norm: number;
}

/**
 * The error of INT8_ASYM with scales in float32.
 *
 * @param weights float32 [rows, columns], row-major, finite.
 */
export function int8Error(weights: Float32Array, shape: MatrixShape): Int8Error {
  const {rows, columns, channels} = shape;
  const {scale, zeroPoint} = exactSteps(weights, shape, 'int8_asym');
  const squares = new Float64Array(scale.length);
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, at++) {
      const channel = channels === 'rows' ? row : column;
      const steps = Math.fround(Math.fround(weights[at] / scale[channel]) + zeroPoint[channel]);
      const q = clamp(roundToEven(steps), 0, 255);
      squares[channel] += (Math.fround((q - zeroPoint[channel]) * scale[channel]) - weights[at]) ** 2;
    }
  }
  const ofChannel = channels === 'rows' ? columns : rows;
  const worst = squares.reduce((most, sum) => Math.max(most, sum / ofChannel), 0);
  return {worst, norm: Math.sqrt(squares.reduce((total, sum) => total + sum, 0))};
}
