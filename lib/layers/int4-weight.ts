/**
 * @file A layer's weight that is INT4. There is one layout: a matrix whose groups run along its rows, the inputs. A kernel
 * [inputs, units] is one; an embedding [words, width] is one transposed, so that its groups run along a word and a head can share it.
 */
import * as tf from '@tensorflow/tfjs';
import {ModelError} from '../errors.js';
import {dequantizeInt4Columns, dequantizeInt4Matrix} from '../kernels/int4-dequantize.js';
import type {Int4Matrix} from '../kernels/int4-kernels.js';
import {
  INT4_KINDS,
  halfWordsOf,
  quantizeInt4,
  reachOf,
  wordsOf,
  type Int4Shape,
  type Int4Values,
} from '../quantization/int4.js';
import {valuesAs} from '../tensor-values.js';
import type {LayerVariable} from '../tfjs.js';
import {
  CompressedWeight,
  checkFinite,
  checkReach,
  ownedVariable,
  type AddWeight,
  type Compression,
  type Int4Config,
  type WeightLayout,
} from './compressed-weight.js';

/** The two or three weights of a layer that make up one INT4 weight, as the parts of `Int4Values`. */
interface Int4Variables {
  readonly values: LayerVariable;
  readonly scale: LayerVariable;
  readonly zeroPoint: LayerVariable | null;
  readonly minimum: LayerVariable | null;
}

/** Names of the parts in a layer, by the name of the weight: `kernel_int4`, `kernel_scale`, `kernel_zero_point`, `kernel_minimum`. */
const SUFFIXES: Readonly<Record<keyof Int4Variables, string>> = {
  values: '_int4',
  scale: '_scale',
  zeroPoint: '_zero_point',
  minimum: '_minimum',
};

/** The layouts that INT4 weights can have. */
export type Int4Layout = Extract<WeightLayout, 'columns' | 'rows'>;

export class Int4Weight extends CompressedWeight {
  private constructor(
    readonly variables: Int4Variables,
    readonly shape: readonly number[],
    readonly layout: Int4Layout,
    private readonly config: Int4Config,
  ) {
    super();
  }

  /**
   * A weight of zeros, for a layer whose weights are loaded next.
   *
   * @param config As a file may give it.
   * @throws {ModelError} `bad-int4-config` if the kind is unknown or the groups do not divide the inputs.
   */
  static build(
    name: string,
    shape: readonly number[],
    layout: Int4Layout,
    config: Int4Config,
    add: AddWeight,
  ): Int4Weight {
    const {rows, columns} = matrixShape(shape, layout, config.groupSize);
    checkConfig(name, rows, config);
    const {kind, groupSize} = config;
    const groups = rows / groupSize;
    const part = (suffix: string, height: number, width: number) =>
      add(name + suffix, [height, width], 'int32');
    const variables = {
      values: part(SUFFIXES.values, rows, wordsOf(columns)),
      scale: part(SUFFIXES.scale, groups, halfWordsOf(columns)),
      zeroPoint: kind === 'asym' ? part(SUFFIXES.zeroPoint, groups, wordsOf(columns)) : null,
      minimum: kind === 'minimum' ? part(SUFFIXES.minimum, groups, halfWordsOf(columns)) : null,
    };
    return new Int4Weight(variables, shape, layout, {kind, groupSize});
  }

  /**
   * Quantizes a weight.
   *
   * @param name Of the float32 weight, with its layer's prefix.
   * @param weights float32, of the given shape; left as they are.
   * @param isTransposed Whether the values of a kernel are given as [units, inputs].
   * @throws {ModelError} `not-finite` or `int4-overflow`, without the layer's name, which the caller knows; {SparsifyError}
   *   `bad-group-size`.
   */
  static quantize(
    name: string,
    weights: Float32Array,
    shape: readonly number[],
    layout: Int4Layout,
    {kind, groupSize}: Int4Config & {readonly kind: 'asym' | 'sym'},
    isTransposed = false,
  ): Int4Weight {
    checkFinite(name, weights, 'INT4');
    const source = {
      ...matrixShape(shape, layout, groupSize),
      isTransposed: isTransposed !== (layout === 'rows'),
    };
    return Int4Weight.of(name, quantizeInt4(weights, source, `int4_${kind}`), shape, layout);
  }

  /**
   * A weight of a matrix that is quantized already, as a file of another format may hold it.
   *
   * @throws {ModelError} `int4-overflow`.
   */
  static of(name: string, matrix: Int4Values, shape: readonly number[], layout: Int4Layout): Int4Weight {
    checkReach(name, reachOf(matrix), 'INT4');
    const {rows, groupSize, kind, values, scale, zeroPoint, minimum} = matrix;
    const groups = rows / groupSize;
    const part = (suffix: string, words: Int32Array, height: number) =>
      ownedVariable(name + suffix, tf.tensor2d(words, [height, words.length / height], 'int32'));
    const variables = {
      values: part(SUFFIXES.values, values, rows),
      scale: part(SUFFIXES.scale, scale, groups),
      zeroPoint: zeroPoint && part(SUFFIXES.zeroPoint, zeroPoint, groups),
      minimum: minimum && part(SUFFIXES.minimum, minimum, groups),
    };
    return new Int4Weight(variables, shape, layout, {kind, groupSize});
  }

  get compression(): Compression {
    return {int4: this.config};
  }

  protected get packed() {
    return {variable: this.variables.values, suffix: SUFFIXES.values};
  }

  matrix(): Int4Matrix {
    const {values, scale, zeroPoint, minimum} = this.variables;
    return {
      ...this.config,
      columns: matrixShape(this.shape, this.layout, 1).columns,
      values: values.read() as tf.Tensor2D,
      scale: scale.read() as tf.Tensor2D,
      ...(zeroPoint === null ? {} : {zeroPoint: zeroPoint.read() as tf.Tensor2D}),
      ...(minimum === null ? {} : {minimum: minimum.read() as tf.Tensor2D}),
    };
  }

  /** The quantized numbers, read from the backend. */
  async data(): Promise<Int4Values> {
    const {values, scale, zeroPoint, minimum} = this.variables;
    const words = async (variable: LayerVariable) => valuesAs('int32', await variable.read().data());
    return {
      ...matrixShape(this.shape, this.layout, this.config.groupSize),
      kind: this.config.kind,
      values: await words(values),
      scale: await words(scale),
      zeroPoint: zeroPoint && (await words(zeroPoint)),
      minimum: minimum && (await words(minimum)),
    };
  }

  read(): tf.Tensor {
    return tf.tidy(() => {
      const matrix = dequantizeInt4Matrix(this.matrix());
      return (this.layout === 'rows' ? tf.transpose(matrix) : matrix).reshape([...this.shape]);
    });
  }

  lookUp(ids: tf.Tensor1D): tf.Tensor2D {
    return dequantizeInt4Columns(this.matrix(), ids);
  }

  list(): LayerVariable[] {
    const {values, scale, zeroPoint, minimum} = this.variables;
    return [values, scale, zeroPoint, minimum].filter((part) => part !== null);
  }
}

/** The INT4 weight that stands for a layer's variable, or undefined. */
export function asInt4(weight: LayerVariable | null | undefined): Int4Weight | undefined {
  const value: unknown = weight;
  return value instanceof Int4Weight ? value : undefined;
}

function matrixShape(shape: readonly number[], layout: Int4Layout, groupSize: number): Int4Shape {
  const [first, last] = shape;
  return layout === 'rows'
    ? {rows: last, columns: first, groupSize}
    : {rows: first, columns: last, groupSize};
}

function checkConfig(name: string, rows: number, {kind, groupSize}: Int4Config): void {
  const known: readonly unknown[] = INT4_KINDS;
  if (known.includes(kind) && Number.isInteger(groupSize) && groupSize > 0 && rows % groupSize === 0) return;
  throw new ModelError(
    'bad-int4-config',
    `the weight "${name}" of ${rows} inputs is INT4 of kind ${JSON.stringify(kind)} with groups of ` +
      `${JSON.stringify(groupSize)}; a kind is one of ${INT4_KINDS.map((each) => `"${each}"`).join(', ')}, and groups ` +
      'divide the inputs: compress the model again',
    {name, rows, kind, groupSize},
  );
}
