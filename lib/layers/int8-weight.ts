/**
 * @file A layer's weight that is INT8 in memory and on disk. It stands where the layer keeps its `tf.LayerVariable`, so
 * that a stock layer that reads its weight gets it dequantized; what knows of it reads the bytes.
 */
import * as tf from '@tensorflow/tfjs';
import {ModelError} from '../errors.js';
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
import {makeLayerVariable, type LayerVariable} from '../tfjs.js';

/**
 * How a weight is a matrix with a scale an output channel: `columns`, its last dimension are the channels (Dense,
 * convolutions); `rows`, its first is (embeddings); `depthwise`, the last two are; `transposed`, the last but one is
 * (transposed convolutions), which is stored as if it were the last.
 */
export type Int8Layout = 'columns' | 'rows' | 'depthwise' | 'transposed';

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

/** A new weight of a layer: `layer.addWeight` without what INT8 weights do not have. */
export type AddWeight = (name: string, shape: number[], dtype: 'int32' | 'float32') => LayerVariable;

export class Int8Weight {
  readonly dtype = 'float32';
  readonly trainable = false;

  /**
   * @param variables Owned by the layer that lists them.
   * @param shape Of the weight that they stand for.
   */
  constructor(
    readonly variables: Int8Variables,
    readonly shape: readonly number[],
    readonly layout: Int8Layout,
    readonly mode: Int8Mode,
  ) {}

  /** A weight of zeros, for a layer whose weights are loaded next. */
  static build(
    name: string,
    shape: readonly number[],
    layout: Int8Layout,
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
    layout: Int8Layout,
    mode: Int8Mode,
  ): Int8Weight {
    checkFinite(name, weights);
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
    checkFinite(name, weights);
    const quantized = quantizeTransposed(weights, inputs, units, mode);
    return Int8Weight.of(name, quantized, [inputs, units], 'columns', mode);
  }

  private static of(
    name: string,
    quantized: Int8Values,
    shape: readonly number[],
    layout: Int8Layout,
    mode: Int8Mode,
  ): Int8Weight {
    checkRange(name, quantized);
    const {values, scale, zeroPoint, rows, stride} = quantized;
    const make = (suffix: string, tensor: tf.Tensor) => {
      const variable = makeLayerVariable(tensor, name + suffix, false);
      tensor.dispose();
      return variable;
    };
    const words = new Int32Array(values.buffer);
    const variables = {
      values: make(SUFFIXES.values, tf.tensor2d(words, [rows, stride / BYTES_PER_WORD], 'int32')),
      scale: make(SUFFIXES.scale, tf.tensor1d(scale)),
      zeroPoint: make(SUFFIXES.zeroPoint, tf.tensor1d(zeroPoint)),
    };
    return new Int8Weight(variables, shape, layout, mode);
  }

  get name(): string {
    return this.variables.values.name.replace(SUFFIXES.values, '');
  }

  get originalName(): string {
    return this.variables.values.originalName.slice(0, -SUFFIXES.values.length);
  }

  /** The matrix, as kernels take it; its tensors are the layer's. */
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

  /** The weight dequantized: float32 of its shape, in memory of its own, which the caller or its tidy disposes. */
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

  /**
   * What an embedding looks up, and only that is dequantized: rows of a matrix with a scale a row, or columns, as rows,
   * of one with a scale a column (a tied embedding in a head's kernel).
   *
   * @param ids int32 [n].
   * @returns float32 [n, width]; the caller disposes it.
   */
  lookUp(ids: tf.Tensor1D): tf.Tensor2D {
    if (this.layout !== 'rows') return dequantizeSomeColumns(this.matrix(), ids);
    return dequantizeRows(this.matrix(), ids, matrixShape(this.shape, this.layout).columns);
  }

  /** Bytes of the values, scales and zero points. */
  get bytes(): number {
    return this.list().reduce((bytes, {shape}) => bytes + 4 * sizeOf(shape as number[]), 0);
  }

  list(): LayerVariable[] {
    return Object.values(this.variables) as LayerVariable[];
  }

  /** @throws {ModelError} always: INT8 weights are written by compressing a float32 model. */
  write(): never {
    throw new ModelError(
      'int8-weight',
      `"${this.originalName}" is INT8 and cannot be written as float32; decompressWeights(model) first`,
      {name: this.originalName},
    );
  }
}

/** The INT8 weight that stands for a layer's variable, or undefined for a variable of TensorFlow.js. */
export function asInt8(weight: LayerVariable | null | undefined): Int8Weight | undefined {
  const value: unknown = weight;
  return value instanceof Int8Weight ? value : undefined;
}

/** An INT8 weight where a layer has its variable. */
export function asLayerVariable(weight: Int8Weight): LayerVariable {
  return weight as unknown as LayerVariable;
}

function matrixShape(shape: readonly number[], layout: Int8Layout): MatrixShape {
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

function checkFinite(name: string, weights: Float32Array): void {
  let index = 0; // `findIndex` would call a function for every weight
  while (index < weights.length && Number.isFinite(weights[index])) index++;
  if (index === weights.length) return;
  throw new ModelError(
    'not-finite',
    `the weight "${name}" holds ${weights[index]}, which INT8 cannot: mend the model, or leave the layer out with ` +
      'ignoredScope',
    {name, value: weights[index]},
  );
}

/** Scales and weights are float16 once dequantized, which ends at 65504. */
function checkRange(name: string, {scale, zeroPoint}: Int8Values): void {
  for (const [channel, step] of scale.entries()) {
    const reach = Math.abs(step) * Math.max(128 + zeroPoint[channel], 127 - zeroPoint[channel]);
    if (reach < FLOAT16_OVERFLOW) continue;
    throw new ModelError(
      'int8-overflow',
      `the weight "${name}" reaches ${reach.toPrecision(3)} in magnitude; INT8 weights are float16 once dequantized, ` +
        'which ends at 65504: scale the layer down, or leave it out with ignoredScope',
      {name, reach},
    );
  }
}

/** What rounds to infinity in float16. */
const FLOAT16_OVERFLOW = 65520;
