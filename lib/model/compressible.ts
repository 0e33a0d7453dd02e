/** @file The layers of a model whose weights can be packed, compressed or not, and which of their weights those are. */
import type * as tf from '@tensorflow/tfjs';
import {
  COMPRESSIBLE_CLASSES,
  DENSE_KERNEL,
  compressibleClassOf,
  type CompressibleWeight,
} from '../layers/compressed-layers.js';
import {asCompressed, type CompressedFormat} from '../layers/compressed-weight.js';
import {isPlainDense, isSparsifyingDense} from '../layers/sparsifying-dense.js';
import {asContainer, type Layer, type LayerVariable} from '../tfjs.js';
import {walkModel, type PlacedLayer} from './walk.js';

/** Types of the layers whose weights can be packed, as a scope's `types` names them. */
export const COMPRESSIBLE_TYPES: readonly string[] = [
  'Dense',
  ...COMPRESSIBLE_CLASSES.map(({stock}) => stock.className),
];

/** A weight that can be packed, and where it stands. */
export interface PlacedWeight extends PlacedLayer {
  readonly weight: CompressibleWeight;
  /** A stand-in if it is compressed. */
  readonly variable: LayerVariable;
}

/** How a weight is stored: `float32`, or packed; `int4_minimum` is INT4 as GGUF files hold it. */
export type WeightFormat = 'float32' | CompressedFormat;

/** A weight that is packed or can be. */
export interface WeightReport {
  /** The path of its layer: what a scope matches. */
  readonly path: string;
  /** Class of the layer as TensorFlow.js calls it: `Dense`, `Embedding`, `Conv2D` … */
  readonly type: string;
  /** The weight's name in its layer: `kernel`, `embeddings`, `depthwise_kernel` … */
  readonly weight: string;
  readonly shape: readonly number[];
  readonly format: WeightFormat;
  /** In memory and on disk; with the scales and zero points. */
  readonly bytes: number;
}

/** All weights of a model that are packed or can be, in the order of the graph. */
export function compressibleWeights(model: tf.LayersModel): PlacedWeight[] {
  return walkModel(asContainer(model)).layers.flatMap((placed) =>
    weightsOf(placed.layer).flatMap((weight) => {
      const variable = (placed.layer as unknown as Record<string, LayerVariable | null>)[weight.field];
      return variable === null ? [] : [{...placed, weight, variable}];
    }),
  );
}

/** Reports every weight of `compressibleWeights`. */
export function reportWeights(model: tf.LayersModel): WeightReport[] {
  return compressibleWeights(model).map(({path, layer, weight, variable}) => ({
    path,
    type: stockTypeOf(layer),
    weight: weight.name,
    shape: variable.shape as number[],
    format: formatOf(variable),
    bytes: bytesOf(variable),
  }));
}

/** The class name that a layer has when its weights are float32 and it is not sparsified. */
export function stockTypeOf(layer: Layer): string {
  if (isSparsifyingDense(layer)) return 'Dense';
  return compressibleClassOf(layer)?.stock.className ?? layer.getClassName();
}

export function formatOf(variable: LayerVariable): WeightFormat {
  return asCompressed(variable)?.format ?? 'float32';
}

export function bytesOf(variable: LayerVariable): number {
  return asCompressed(variable)?.bytes ?? 4 * sizeOf(variable);
}

/** Number of weights that a variable holds, compressed or not. */
export function sizeOf(variable: LayerVariable): number {
  return (variable.shape as number[]).reduce((size, dimension) => size * dimension, 1);
}

/** Which of a layer's weights can be packed: those of exactly the stock classes and of their packed forms. */
function weightsOf(layer: Layer): readonly CompressibleWeight[] {
  if (isPlainDense(layer) || isSparsifyingDense(layer)) return [DENSE_KERNEL];
  return compressibleClassOf(layer)?.weights ?? [];
}
