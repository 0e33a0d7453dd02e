/**
 * @file INT8 quantization of a weight matrix per output channel, with the arithmetic of NNCF's `compress_weights`
 * (nncf/quantization/algorithms/weight_compression/weight_lowering.py, in the form that widens the asymmetric range to
 * hold 0; held by spec/fixtures/nncf). Typed arrays only; knows nothing of TensorFlow.js.
 *
 * A weight is what NNCF's decompression gives, `float16(float16(scale) * (q - zeroPoint))`, the product rounded to
 * float16. Storage differs from NNCF in one point: asymmetric values and zero points are kept less 128, so that both
 * modes are signed bytes and one kernel reads both; their difference is the same.
 */
import {SparsifyError} from '../errors.js';
import {checkOptions, count, oneOf, required, type OptionRule, type OptionRules} from '../option-rules.js';
import {FLOAT16_SPLITTER, roundToFloat16} from './float16.js';
import {asymmetricScale, clamp, roundToEven, symmetricScale, zeroPointOf} from './steps.js';

/** How weights are quantized: 256 steps over [min, max] with 0 among them, or over [-m, m] without a zero point. */
export type Int8Mode = 'int8_asym' | 'int8_sym';

export const INT8_MODES: readonly Int8Mode[] = ['int8_asym', 'int8_sym'];

/** Which dimension of the matrix has a scale of its own: columns for a kernel [K, N], rows for an embedding [V, H]. */
export type ChannelAxis = 'columns' | 'rows';

/** Four bytes are one int32 of the stored tensor. */
export const BYTES_PER_WORD = 4;

/** What asymmetric values and zero points are stored less of. */
export const STORED_OFFSET = 128;

/** A constant of this module, which loops read 8 % faster than an imported one. */
const SPLITTER = FLOAT16_SPLITTER;

/** The extent of a matrix and which of its dimensions are channels. */
export interface MatrixShape {
  readonly rows: number;
  readonly columns: number;
  readonly channels: ChannelAxis;
}

/** For options that hold a mode. */
export const INT8_MODE: OptionRule = (value) => {
  if (value !== undefined) checkInt8Mode(value);
};

const SHAPE_RULES: OptionRules<MatrixShape> = {
  rows: required('{rows: 1}', count(0)),
  columns: required('{columns: 1}', count(0)),
  channels: required("{channels: 'columns'}", oneOf(['columns', 'rows'])),
};

/** A quantized matrix. */
export interface Int8Values extends MatrixShape {
  /** [rows, stride], row-major; the columns up to the stride are 0. Asymmetric values are stored less 128. */
  readonly values: Int8Array;
  /** Bytes of a row: `columns` rounded up to a multiple of 4. */
  readonly stride: number;
  /** One a channel; float16 numbers. Can be negative if symmetric. */
  readonly scale: Float32Array;
  /** One a channel, integers in [-128, 127]; 0 if symmetric. */
  readonly zeroPoint: Float32Array;
}

/**
 * Rejects modes that there are not, NNCF's others among them.
 *
 * @throws {SparsifyError} `unsupported-mode`.
 */
function checkInt8Mode(mode: unknown): asserts mode is Int8Mode {
  if ((INT8_MODES as readonly unknown[]).includes(mode)) return;
  throw new SparsifyError(
    'unsupported-mode',
    `the mode is ${JSON.stringify(mode)}; supported are ` +
      INT8_MODES.map((supported) => `"${supported}"`).join(' and '),
    {got: mode, allowed: INT8_MODES},
  );
}

/** Bytes of a stored row of so many columns. */
export function strideOf(columns: number): number {
  return Math.ceil(columns / BYTES_PER_WORD) * BYTES_PER_WORD;
}

/**
 * Quantizes a matrix per channel.
 *
 * @param weights float32 [rows, columns], row-major, finite.
 * @throws {SparsifyError} `unsupported-mode`; `unknown-option`, `missing-option` or `bad-option` of the shape.
 */
export function quantizeInt8(weights: Float32Array, shape: MatrixShape, mode: Int8Mode): Int8Values {
  checkInt8Mode(mode);
  checkOptions('quantizeInt8', shape, SHAPE_RULES);
  const {rows, columns, channels} = shape;
  const stride = strideOf(columns);
  const byRow = channels === 'rows';
  const {scale: exact, zeroPoint} = exactSteps(weights, shape, mode);
  const values = new Int8Array(rows * stride);
  const offset = mode === 'int8_sym' ? 0 : STORED_OFFSET;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const channel = byRow ? row : column;
      const steps = Math.fround(weights[row * columns + column] / exact[channel]);
      const q = roundToEven(Math.fround(steps + zeroPoint[channel]));
      values[row * stride + column] = clamp(q - offset, -128, 127);
    }
  }
  return {
    ...shape,
    values,
    stride,
    scale: exact.map(roundToFloat16),
    zeroPoint: offset === 0 ? zeroPoint : zeroPoint.map((point) => point - offset),
  };
}

/** Scales and zero points of the channels in float32, before the scales are rounded; zero points in [0, 255], 0 if symmetric. */
export function exactSteps(weights: Float32Array, shape: MatrixShape, mode: Int8Mode) {
  const {least, greatest} = extremes(weights, shape);
  const scale = new Float32Array(least.length);
  const zeroPoint = new Float32Array(least.length);
  for (let channel = 0; channel < scale.length; channel++) {
    if (mode === 'int8_sym') {
      scale[channel] = symmetricScale(least[channel], greatest[channel], 128);
    } else {
      scale[channel] = asymmetricScale(least[channel], greatest[channel], 255);
      zeroPoint[channel] = zeroPointOf(least[channel], scale[channel], 255);
    }
  }
  return {scale, zeroPoint};
}

/** The weights that a quantized matrix stands for: float32 [rows, columns], row-major. */
export function dequantizeInt8(matrix: Int8Values): Float32Array {
  const {rows, columns, channels, values, stride, scale, zeroPoint} = matrix;
  if (channels === 'columns') {
    const words = new Int32Array(values.buffer, values.byteOffset, values.byteLength / BYTES_PER_WORD);
    return dequantizeRows(words, rows, columnSteps(scale, zeroPoint));
  }
  const weights = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const q = values[row * stride + column];
      weights[row * columns + column] = weightOf(scale[row], q - zeroPoint[row]);
    }
  }
  return weights;
}

/** Scales and zero points of columns as float64, which spares the loops a conversion a weight. */
export interface ColumnSteps {
  readonly scale: Float64Array;
  readonly zeroPoint: Float64Array;
}

export function columnSteps(scale: Float32Array, zeroPoint: Float32Array): ColumnSteps {
  return {scale: Float64Array.from(scale), zeroPoint: Float64Array.from(zeroPoint)};
}

/** Dequantizes rows that follow each other: words [rows, stride / 4] to float32 [rows, columns]. */
export function dequantizeRows(words: Int32Array, rows: number, steps: ColumnSteps): Float32Array {
  const columns = steps.scale.length;
  const wordsPerRow = strideOf(columns) / BYTES_PER_WORD;
  const weights = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    dequantizeRow(words, row * wordsPerRow, steps, weights, row * columns);
  }
  return weights;
}

/**
 * Dequantizes a row of a matrix with a scale a column.
 *
 * @param words Little-endian, four signed bytes each; the row's first is at `word`.
 * @param weights Written from `offset` on.
 */
export function dequantizeRow(
  words: Int32Array,
  word: number,
  {scale, zeroPoint}: ColumnSteps,
  weights: Float32Array,
  offset: number,
): void {
  const columns = scale.length;
  let n = 0;
  for (; n + BYTES_PER_WORD <= columns; n += BYTES_PER_WORD, word++) {
    const four = words[word];
    const o = offset + n;
    weights[o] = weightOf(scale[n], ((four << 24) >> 24) - zeroPoint[n]);
    weights[o + 1] = weightOf(scale[n + 1], ((four << 16) >> 24) - zeroPoint[n + 1]);
    weights[o + 2] = weightOf(scale[n + 2], ((four << 8) >> 24) - zeroPoint[n + 2]);
    weights[o + 3] = weightOf(scale[n + 3], (four >> 24) - zeroPoint[n + 3]);
  }
  for (let shift = 24; n < columns; n++, shift -= 8) {
    weights[offset + n] = weightOf(scale[n], ((words[word] << shift) >> 24) - zeroPoint[n]);
  }
}

/**
 * `float16(scale * steps)`. A scale is a float16, so a product below 2^-14 is a multiple of 2^-24 with at most 10 bits,
 * which keeping 11 bits does not change: no case of its own for float16's subnormals.
 */
function weightOf(scale: number, steps: number): number {
  const product = scale * steps;
  const c = product * SPLITTER;
  return c - (c - product);
}

/** The least and the greatest weight of each channel. */
function extremes(weights: Float32Array, {rows, columns, channels}: MatrixShape) {
  const count = channels === 'rows' ? rows : columns;
  const least = new Float32Array(count).fill(Infinity);
  const greatest = new Float32Array(count).fill(-Infinity);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const channel = channels === 'rows' ? row : column;
      const weight = weights[row * columns + column];
      if (weight < least[channel]) least[channel] = weight;
      if (weight > greatest[channel]) greatest[channel] = weight;
    }
  }
  return {least, greatest};
}
