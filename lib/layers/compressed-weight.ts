/**
 * @file A layer's weight that is packed in memory and on disk, in whichever format. It stands where the layer keeps its
 * `tf.LayerVariable`, so that a stock layer that reads its weight gets it dequantized; what knows of it reads the bytes.
 */
import type * as tf from '@tensorflow/tfjs';
import {ModelError} from '../errors.js';
import type {Int4Matrix} from '../kernels/int4-kernels.js';
import type {Int8Matrix} from '../kernels/int8-kernels.js';
import type {Int4Kind} from '../quantization/int4.js';
import {sizeOf} from '../tensor-values.js';
import {makeLayerVariable, type LayerVariable} from '../tfjs.js';

/** How an INT8 weight is quantized, as a layer's configuration says it: saving a model mangles words with `_`. */
type Int8Kind = 'asym' | 'sym';

/** How an INT4 weight is quantized, as a layer's configuration says it. */
export interface Int4Config {
  readonly kind: Int4Kind;
  /** Inputs that share a scale. */
  readonly groupSize: number;
}

/** What a layer's configuration says of its packed weights. */
export type Compression = {readonly int8: Int8Kind} | {readonly int4: Int4Config};

/** How a packed weight is stored. */
export type CompressedFormat = `int8_${Int8Kind}` | `int4_${Int4Kind}`;

/**
 * How a weight is a matrix with a scale an output channel: `columns`, its last dimension are the channels (Dense,
 * convolutions); `rows`, its first is (embeddings); `depthwise`, the last two are; `transposed`, the last but one is
 * (transposed convolutions), which is stored as if it were the last.
 */
export type WeightLayout = 'columns' | 'rows' | 'depthwise' | 'transposed';

/** A new weight of a layer: `layer.addWeight` without what packed weights do not have. */
export type AddWeight = (name: string, shape: number[], dtype: 'int32' | 'float32') => LayerVariable;

export abstract class CompressedWeight {
  readonly dtype = 'float32';
  readonly trainable = false;

  /** Of the weight that this one stands for. */
  abstract readonly shape: readonly number[];
  abstract readonly layout: WeightLayout;
  abstract readonly compression: Compression;
  /** The variable of the packed values, and what its name has after that of the weight. */
  protected abstract readonly packed: {readonly variable: LayerVariable; readonly suffix: string};

  /** The variables that make up the weight, owned by the layer that lists them. */
  abstract list(): LayerVariable[];

  /** The matrix, as kernels take it; its tensors are the layer's. */
  abstract matrix(): Int8Matrix | Int4Matrix;

  /** The weight dequantized: float32 of its shape, in memory of its own, which the caller or its tidy disposes. */
  abstract read(): tf.Tensor;

  /**
   * What an embedding looks up, and only that is dequantized: rows of a table, or columns, as rows, of a head's kernel (a tied
   * embedding).
   *
   * @param ids int32 [n].
   * @returns float32 [n, width]; the caller disposes it.
   */
  abstract lookUp(ids: tf.Tensor1D): tf.Tensor2D;

  get name(): string {
    return this.packed.variable.name.replace(this.packed.suffix, '');
  }

  get originalName(): string {
    return this.packed.variable.originalName.slice(0, -this.packed.suffix.length);
  }

  get format(): CompressedFormat {
    const {compression} = this;
    return 'int8' in compression ? `int8_${compression.int8}` : `int4_${compression.int4.kind}`;
  }

  /** Bytes of the values, scales and zero points. */
  get bytes(): number {
    return this.list().reduce((bytes, {shape}) => bytes + 4 * sizeOf(shape as number[]), 0);
  }

  /** @throws {ModelError} `compressed-weight` always: packed weights are written by compressing a float32 model. */
  write(): never {
    throw new ModelError(
      'compressed-weight',
      `"${this.originalName}" is ${labelOf(this.compression)} and cannot be written as float32; decompressWeights(model) first`,
      {name: this.originalName},
    );
  }
}

/** The packed weight that stands for a layer's variable, or undefined for a variable of TensorFlow.js. */
export function asCompressed(weight: LayerVariable | null | undefined): CompressedWeight | undefined {
  const value: unknown = weight;
  return value instanceof CompressedWeight ? value : undefined;
}

/** A packed weight where a layer has its variable. */
export function asLayerVariable(weight: CompressedWeight): LayerVariable {
  return weight as unknown as LayerVariable;
}

/** What a layer's arguments or configuration say of its packed weights; null if they are float32. */
export function compressionOf({int8, int4}: CompressionArgs): Compression | null {
  if (int4 !== undefined && int4 !== null) return {int4};
  return int8 === undefined || int8 === null ? null : {int8};
}

/** Arguments of a layer that may have packed weights. */
export interface CompressionArgs {
  /** How the weights are quantized if they are INT8. */
  readonly int8?: Int8Kind | null;
  /** How the weights are quantized if they are INT4. */
  readonly int4?: Int4Config | null;
}

/** `INT8` or `INT4`. */
function labelOf(compression: Compression): string {
  return 'int8' in compression ? 'INT8' : 'INT4';
}

/** A variable that owns a tensor's values; the tensor is disposed. */
export function ownedVariable(name: string, tensor: tf.Tensor): LayerVariable {
  const variable = makeLayerVariable(tensor, name, false);
  tensor.dispose();
  return variable;
}

/** @throws {ModelError} `not-finite`, without the layer's name, which the caller knows. */
export function checkFinite(name: string, weights: Float32Array, label: string): void {
  let index = 0; // `findIndex` would call a function for every weight
  while (index < weights.length && Number.isFinite(weights[index])) index++;
  if (index === weights.length) return;
  throw new ModelError(
    'not-finite',
    `the weight "${name}" holds ${weights[index]}, which ${label} cannot: mend the model, or leave the layer out with ` +
      'ignoredScope',
    {name, value: weights[index]},
  );
}

/**
 * Weights are float16 once dequantized, which ends at 65504.
 *
 * @param reach The largest magnitude of a weight.
 * @throws {ModelError} `int8-overflow` or `int4-overflow`, without the layer's name.
 */
export function checkReach(name: string, reach: number, label: string): void {
  if (reach < FLOAT16_OVERFLOW) return;
  throw new ModelError(
    `${label.toLowerCase()}-overflow`,
    `the weight "${name}" reaches ${reach.toPrecision(3)} in magnitude; ${label} weights are float16 once dequantized, ` +
      'which ends at 65504: scale the layer down, or leave it out with ignoredScope',
    {name, reach},
  );
}

/** What rounds to infinity in float16. */
const FLOAT16_OVERFLOW = 65520;
