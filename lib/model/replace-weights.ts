/** @file Turning layers into their forms with packed weights and back, in place: names, calls and what refers to them stay. */
import * as tf from '@tensorflow/tfjs';
import {ModelError} from '../errors.js';
import {compressibleClassOf, emptyWeight, type CompressedLayer} from '../layers/compressed-layers.js';
import {
  asCompressed,
  asLayerVariable,
  type CompressedWeight,
  type Compression,
  type Int4Config,
} from '../layers/compressed-weight.js';
import {Int4Weight, type Int4Layout} from '../layers/int4-weight.js';
import {Int8Weight} from '../layers/int8-weight.js';
import {
  toSparsifyingDense,
  isPlainDense,
  isSparsifyingDense,
  toPlainDense,
} from '../layers/sparsifying-dense.js';
import {
  lossesOf,
  makeLayerVariable,
  ownNonTrainableWeights,
  ownTrainableWeights,
  rawValue,
  type Layer,
  type LayerVariable,
} from '../tfjs.js';
import type {Int4Values} from '../quantization/int4.js';
import {compressibleWeights, type PlacedWeight} from './compressible.js';
import {isMasking} from './dense-layers.js';
import {trainAll} from './training-state.js';

/** How float32 weights can be quantized. */
export type NewCompression =
  Extract<Compression, {int8: unknown}> | {readonly int4: Int4Config & {readonly kind: 'asym' | 'sym'}};

/**
 * Quantizes a layer's weight.
 *
 * @param values Of the weight, float32.
 * @param isTransposed Whether the values of a Dense kernel are given as [units, inputs].
 * @throws {ModelError} `not-finite`, `int8-overflow` or `int4-overflow`, naming the layer.
 */
export function quantizeWeight(
  {path, weight, variable}: PlacedWeight,
  values: Float32Array,
  compression: NewCompression,
  isTransposed = false,
): CompressedWeight {
  const shape = variable.shape as number[];
  const {originalName} = variable;
  return ofLayer(path, () => {
    if ('int4' in compression) {
      const layout = weight.layout as Int4Layout;
      return Int4Weight.quantize(originalName, values, shape, layout, compression.int4, isTransposed);
    }
    const mode = `int8_${compression.int8}` as const;
    if (isTransposed) return Int8Weight.quantizeKernel(originalName, values, shape, mode);
    return Int8Weight.quantize(originalName, values, shape, weight.layout, mode);
  });
}

/**
 * A layer's weight of a matrix that is quantized already.
 *
 * @throws {ModelError} `int4-overflow`, naming the layer.
 */
export function quantizedWeight(
  {path, weight, variable}: PlacedWeight,
  matrix: Int4Values,
): CompressedWeight {
  return ofLayer(path, () =>
    Int4Weight.of(variable.originalName, matrix, variable.shape as number[], weight.layout as Int4Layout),
  );
}

/** Errors of the weight that `make` makes name the layer. */
function ofLayer(path: string, make: () => CompressedWeight): CompressedWeight {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    throw new ModelError(
      error.code,
      `layer "${path}": ${error.message}`,
      {...error.data, path},
      {cause: error},
    );
  }
}

/** A packed weight of zeros of the shape of a float32 one; its memory is not touched. */
export function unfilledWeight({weight, variable}: PlacedWeight, compression: Compression): CompressedWeight {
  const {originalName, shape} = variable;
  return emptyWeight(originalName, shape as number[], weight.layout, compression, (name, size, dtype) => {
    const zeros = tf.zeros(size, dtype);
    const part = makeLayerVariable(zeros, name, false);
    zeros.dispose();
    return part;
  });
}

/**
 * Puts a packed weight in the place of a layer's float32 one, whose memory is free then.
 *
 * @param placed Not compressed.
 */
export function replaceWeight({layer, weight, variable}: PlacedWeight, packed: CompressedWeight): void {
  if (isPlainDense(layer)) toSparsifyingDense(layer);
  const known = compressibleClassOf(layer);
  const {compression} = packed;
  if (known !== undefined) {
    const form = 'int4' in compression ? known.int4! : known.int8;
    Object.setPrototypeOf(layer, form.prototype);
  }
  const target = layer as unknown as CompressedLayer;
  target.compression = compression;
  target[weight.field] = asLayerVariable(packed);
  for (const list of [ownTrainableWeights(layer), ownNonTrainableWeights(layer)]) {
    const index = list.indexOf(variable);
    if (index >= 0) list.splice(index, 1);
  }
  ownNonTrainableWeights(layer).unshift(...packed.list());
  dropRegularizer(layer, weight.field);
  if (!rawValue(variable).isDisposed) variable.dispose();
}

/** Makes all packed weights of a model float32: stock layers, and `SparsifyingDense` where a layer masks. */
export function dequantizeLayers(model: tf.LayersModel): void {
  const made = new Map<CompressedWeight, LayerVariable>();
  const placed = compressibleWeights(model).filter(({variable}) => asCompressed(variable) !== undefined);
  for (const [i, {layer, weight, variable}] of placed.entries()) {
    const packed = asCompressed(variable)!;
    const float = made.get(packed) ?? floatVariable(packed, layer, weight.field);
    made.set(packed, float);
    (layer as unknown as CompressedLayer)[weight.field] = float;
    const others = ownNonTrainableWeights(layer);
    for (const part of packed.list()) others.splice(others.indexOf(part), 1);
    const position = placed.slice(0, i).filter((before) => before.layer === layer).length;
    ownTrainableWeights(layer).splice(position, 0, float);
  }
  for (const packed of made.keys()) for (const part of packed.list()) part.dispose();
  for (const {layer} of placed) {
    if (isSparsifyingDense(layer)) {
      const masks = isMasking(layer); // a compressed one need not
      layer.compression = null;
      if (!masks) toPlainDense(layer);
    }
    const known = compressibleClassOf(layer);
    if (known === undefined) continue;
    delete (layer as unknown as CompressedLayer).compression;
    Object.setPrototypeOf(layer, known.stock.prototype);
  }
  for (const {layer, weight, variable} of [...placed].reverse()) {
    addRegularizer(layer, weight.field, made.get(asCompressed(variable)!)!);
  }
  if (placed.length > 0) trainAll(model);
}

function floatVariable(packed: CompressedWeight, layer: Layer, field: string): LayerVariable {
  const value = packed.read();
  const constraint = (layer as unknown as CompressedLayer)[`${stemOf(field)}Constraint`];
  const variable = makeLayerVariable(value, packed.originalName, layer.trainable, constraint);
  value.dispose();
  return variable;
}

/** What the settings of a weight are called after: `depthwise` for `depthwiseKernel`. */
function stemOf(field: string): string {
  return field.replace(/Kernel$/, '');
}

/** The penalty on a float32 weight, before those on the layer's other weights. */
function addRegularizer(layer: Layer, field: string, variable: LayerVariable): void {
  const regularizer = (layer as unknown as CompressedLayer)[`${stemOf(field)}Regularizer`] as {
    apply(x: tf.Tensor): tf.Scalar;
  } | null;
  if (regularizer) lossesOf(layer).unshift(() => regularizer.apply(variable.read()));
}

/** The penalty on a weight is a closure over its variable, which is gone: as a constant it has no gradient anyway. */
function dropRegularizer(layer: Layer, field: string): void {
  if ((layer as unknown as CompressedLayer)[`${stemOf(field)}Regularizer`]) lossesOf(layer).shift();
}
