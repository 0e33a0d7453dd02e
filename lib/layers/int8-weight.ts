/** @file A layer's weight that is INT8: signed bytes with a scale and a zero point an output channel. */
import * as tf from '@tensorflow/tfjs';
import type {Int8Matrix} from '../kernels/int8-kernels.js';
import {dequantizeColumns, dequantizeRows, dequantizeSomeColumns} from '../kernels/int8-dequantize.js';
import {
  BYTES_PER_WORD,
  quantizeInt8,
  strideOf,
  type Int8Mode,
  type Int8Values,
  type MatrixShape,
} from '../quantization/int8.js';
import {quantizeTransposed} from '../quantization/transposed-int8.js';
import {floatsOf, sizeOf, valuesAs} from '../tensor-values.js';
import type {LayerVariable} from '../tfjs.js';
import {
  CompressedWeight,
  checkFinite,
  checkReach,
  ownedVariable,
  type AddWeight,
  type Compression,
  type WeightLayout,
} from './compressed-weight.js';

/** The three weights of a layer that make up one INT8 weight. */
export interface Int8Variables {
  /** int32 [rows, ceil(columns / 4)]: signed bytes, four to a word. */
  readonly values: LayerVariable;
  /** float32, one a channel: float16 numbers. */
  readonly scale: LayerVariable;
  /** float32, one a channel: integers in [-128, 127]. */
  readonly zeroPoint: LayerVariable;
}

/** Names of the three in a layer, by the name of the weight: `kernel_int8`, `kernel_scale`, `kernel_zero_point`. */
const SUFFIXES: Readonly<Record<keyof Int8Variables, string>> = {
  values: '_int8',
  scale: '_scale',
  zeroPoint: '_zero_point',
};

export class Int8Weight extends CompressedWeight {
  /**
   * @param variables Owned by the layer that lists them.
   * @param shape Of the weight that they stand for.
   */
  constructor(
    readonly variables: Int8Variables,
    readonly shape: readonly number[],
    readonly layout: WeightLayout,
    readonly mode: Int8Mode,
  ) {
    super();
  }

  /** A weight of zeros, for a layer whose weights are loaded next. */
  static build(
    name: string,
    shape: readonly number[],
    layout: WeightLayout,
    mode: Int8Mode,
    add: AddWeight,
  ): Int8Weight {
    const {rows, columns, channels} = matrixShape(shape, layout);
    const count = channels === 'rows' ? rows : columns;
    const variables = {
      values: add(name + SUFFIXES.values, [rows, strideOf(columns) / BYTES_PER_WORD], 'int32'),
      scale: add(name + SUFFIXES.scale, [count], 'float32'),
      zeroPoint: add(name + SUFFIXES.zeroPoint, [count], 'float32'),
    };
    return new Int8Weight(variables, shape, layout, mode);
  }

  /**
   * Quantizes a weight.
   *
   * @param name Of the float32 weight, with its layer's prefix.
   * @param weights float32, of the given shape; left as they are.
   * @throws {ModelError} `not-finite` or `int8-overflow`, without the layer's name, which the caller knows.
   */
  static quantize(
    name: string,
    weights: Float32Array,
    shape: readonly number[],
    layout: WeightLayout,
    mode: Int8Mode,
  ): Int8Weight {
    checkFinite(name, weights, 'INT8');
    const matrix = layout === 'transposed' ? swapLastTwo(weights, shape) : weights;
    const quantized = quantizeInt8(matrix, matrixShape(shape, layout), mode);
    return Int8Weight.of(name, quantized, shape, layout, mode);
  }

  /**
   * Quantizes a kernel [inputs, units] of which the transpose is given, as `quantize` with layout `columns`.
   *
   * @param weights float32 [units, inputs]; left as they are.
   * @throws {ModelError} as `quantize`.
   */
  static quantizeKernel(
    name: string,
    weights: Float32Array,
    [inputs, units]: readonly number[],
    mode: Int8Mode,
  ): Int8Weight {
    checkFinite(name, weights, 'INT8');
    const quantized = quantizeTransposed(weights, inputs, units, mode);
    return Int8Weight.of(name, quantized, [inputs, units], 'columns', mode);
  }

  private static of(
    name: string,
    quantized: Int8Values,
    shape: readonly number[],
    layout: WeightLayout,
    mode: Int8Mode,
  ): Int8Weight {
    checkRange(name, quantized);
    const {values, scale, zeroPoint, rows, stride} = quantized;
    const make = (suffix: string, tensor: tf.Tensor) => ownedVariable(name + suffix, tensor);
    const words = new Int32Array(values.buffer);
    const variables = {
      values: make(SUFFIXES.values, tf.tensor2d(words, [rows, stride / BYTES_PER_WORD], 'int32')),
      scale: make(SUFFIXES.scale, tf.tensor1d(scale)),
      zeroPoint: make(SUFFIXES.zeroPoint, tf.tensor1d(zeroPoint)),
    };
    return new Int8Weight(variables, shape, layout, mode);
  }

  get compression(): Compression {
    return {int8: this.mode === 'int8_asym' ? 'asym' : 'sym'};
  }

  protected get packed() {
    return {variable: this.variables.values, suffix: SUFFIXES.values};
  }

  matrix(): Int8Matrix {
    const {values, scale, zeroPoint} = this.variables;
    return {
      values: values.read() as tf.Tensor2D,
      scale: scale.read() as tf.Tensor1D,
      zeroPoint: zeroPoint.read() as tf.Tensor1D,
    };
  }

  /** The quantized numbers, read from the backend. */
  async data(): Promise<Int8Values> {
    const {values, scale, zeroPoint} = this.variables;
    const words = valuesAs('int32', await values.read().data());
    const shape = matrixShape(this.shape, this.layout);
    return {
      ...shape,
      values: new Int8Array(words.buffer, words.byteOffset, words.byteLength),
      stride: strideOf(shape.columns),
      scale: floatsOf(await scale.read().data()),
      zeroPoint: floatsOf(await zeroPoint.read().data()),
    };
  }

  read(): tf.Tensor {
    const {shape, layout} = this;
    return tf.tidy(() => {
      if (layout === 'rows') {
        return this.lookUp(tf.range(0, shape[0], 1, 'int32')).reshape([...shape]);
      }
      const matrix = dequantizeColumns(this.matrix());
      if (layout !== 'transposed') return matrix.reshape([...shape]);
      const [last, before] = [shape.length - 1, shape.length - 2];
      const swapped = [...shape.slice(0, before), shape[last], shape[before]];
      return tf.transpose(matrix.reshape(swapped), [...shape.slice(0, before).keys(), last, before]);
    });
  }

  lookUp(ids: tf.Tensor1D): tf.Tensor2D {
    if (this.layout !== 'rows') return dequantizeSomeColumns(this.matrix(), ids);
    return dequantizeRows(this.matrix(), ids, matrixShape(this.shape, this.layout).columns);
  }

  list(): LayerVariable[] {
    return Object.values(this.variables) as LayerVariable[];
  }
}

/** The INT8 weight that stands for a layer's variable, or undefined for a variable of TensorFlow.js. */
export function asInt8(weight: LayerVariable | null | undefined): Int8Weight | undefined {
  const value: unknown = weight;
  return value instanceof Int8Weight ? value : undefined;
}

function matrixShape(shape: readonly number[], layout: WeightLayout): MatrixShape {
  const last = shape.length - 1;
  switch (layout) {
    case 'columns':
      return {rows: sizeOf(shape.slice(0, last)), columns: shape[last], channels: 'columns'};
    case 'rows':
      return {rows: shape[0], columns: sizeOf(shape.slice(1)), channels: 'rows'};
    case 'depthwise':
      return {rows: sizeOf(shape.slice(0, -2)), columns: sizeOf(shape.slice(-2)), channels: 'columns'};
    case 'transposed':
      return {rows: sizeOf(shape) / shape[last - 1], columns: shape[last - 1], channels: 'columns'};
  }
}

/** [..., A, B] as [..., B, A]. */
function swapLastTwo(values: Float32Array, shape: readonly number[]): Float32Array {
  const [a, b] = shape.slice(-2);
  const swapped = new Float32Array(values.length);
  for (let offset = 0; offset < values.length; offset += a * b) {
    for (let i = 0; i < a; i++) {
      for (let j = 0; j < b; j++) swapped[offset + j * a + i] = values[offset + i * b + j];
    }
  }
  return swapped;
}

function checkRange(name: string, {scale, zeroPoint}: Int8Values): void {
  for (const [channel, step] of scale.entries()) {
    checkReach(name, Math.abs(step) * Math.max(128 + zeroPoint[channel], 127 - zeroPoint[channel]), 'INT8');
  }
}
