/** @file Turning layers into their INT8 forms and back, in place: names, calls and what refers to them stay. */
import * as tf from '@tensorflow/tfjs';
import {ModelError} from '../errors.js';
import {COMPRESSIBLE_CLASSES, kindOf, type CompressibleClass, type Int8Layer} from '../layers/int8-layers.js';
import {asInt8, Int8Weight, asLayerVariable} from '../layers/int8-weight.js';
import {
  toSparsifyingDense,
  isPlainDense,
  isSparsifyingDense,
  toPlainDense,
} from '../layers/sparsifying-dense.js';
import type {Int8Mode} from '../quantization/int8.js';
import {
  lossesOf,
  makeLayerVariable,
  ownNonTrainableWeights,
  ownTrainableWeights,
  rawValue,
  type Layer,
  type LayerVariable,
} from '../tfjs.js';
import {compressibleWeights, type PlacedWeight} from './compressible.js';
import {isMasking} from './dense-layers.js';
import {trainAll} from './training-state.js';

/**
 * Quantizes a layer's weight.
 *
 * @param values Of the weight, float32.
 * @param isTransposed Whether the values of a Dense kernel are given as [units, inputs].
 * @throws {ModelError} `not-finite` or `int8-overflow`, naming the layer.
 */
export function quantizeWeight(
  {path, weight, variable}: PlacedWeight,
  values: Float32Array,
  mode: Int8Mode,
  isTransposed = false,
): Int8Weight {
  const shape = variable.shape as number[];
  try {
    if (isTransposed) return Int8Weight.quantizeKernel(variable.originalName, values, shape, mode);
    return Int8Weight.quantize(variable.originalName, values, shape, weight.layout, mode);
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

/** An INT8 weight of zeros of the shape of a float32 one; its memory is not touched. */
export function unfilledInt8({weight, variable}: PlacedWeight, mode: Int8Mode): Int8Weight {
  const {originalName, shape} = variable;
  return Int8Weight.build(originalName, shape as number[], weight.layout, mode, (name, size, dtype) => {
    const zeros = tf.zeros(size, dtype);
    const part = makeLayerVariable(zeros, name, false);
    zeros.dispose();
    return part;
  });
}

/**
 * Puts an INT8 weight in the place of a layer's float32 one, whose memory is free then.
 *
 * @param placed Not compressed.
 */
export function replaceByInt8({layer, weight, variable}: PlacedWeight, int8: Int8Weight): void {
  if (isPlainDense(layer)) toSparsifyingDense(layer);
  const form = formOf(layer);
  if (form !== undefined) Object.setPrototypeOf(layer, form.int8.prototype);
  const target = layer as unknown as Int8Layer;
  target.int8 = kindOf(int8.mode);
  target[weight.field] = asLayerVariable(int8);
  for (const list of [ownTrainableWeights(layer), ownNonTrainableWeights(layer)]) {
    const index = list.indexOf(variable);
    if (index >= 0) list.splice(index, 1);
  }
  ownNonTrainableWeights(layer).unshift(...int8.list());
  dropRegularizer(layer, weight.field);
  if (!rawValue(variable).isDisposed) variable.dispose();
}

/** Makes all INT8 layers of a model float32: stock layers, and `SparsifyingDense` where a layer masks. */
export function dequantizeLayers(model: tf.LayersModel): void {
  const made = new Map<Int8Weight, LayerVariable>();
  const placed = compressibleWeights(model).filter(({variable}) => asInt8(variable) !== undefined);
  for (const [i, {layer, weight, variable}] of placed.entries()) {
    const int8 = asInt8(variable)!;
    const float = made.get(int8) ?? floatVariable(int8, layer, weight.field);
    made.set(int8, float);
    (layer as unknown as Int8Layer)[weight.field] = float;
    const others = ownNonTrainableWeights(layer);
    for (const part of int8.list()) others.splice(others.indexOf(part), 1);
    const position = placed.slice(0, i).filter((before) => before.layer === layer).length;
    ownTrainableWeights(layer).splice(position, 0, float);
  }
  for (const int8 of made.keys()) for (const part of int8.list()) part.dispose();
  for (const {layer} of placed) {
    if (isSparsifyingDense(layer)) {
      const masks = isMasking(layer); // a compressed one need not
      layer.int8 = null;
      if (!masks) toPlainDense(layer);
    }
    const form = formOf(layer);
    if (form === undefined) continue;
    delete (layer as unknown as Int8Layer).int8;
    Object.setPrototypeOf(layer, form.stock.prototype);
  }
  for (const {layer, weight, variable} of [...placed].reverse()) {
    addRegularizer(layer, weight.field, made.get(asInt8(variable)!)!);
  }
  if (placed.length > 0) trainAll(model);
}

function floatVariable(int8: Int8Weight, layer: Layer, field: string): LayerVariable {
  const value = int8.read();
  const constraint = (layer as unknown as Int8Layer)[`${stemOf(field)}Constraint`];
  const variable = makeLayerVariable(value, int8.originalName, layer.trainable, constraint);
  value.dispose();
  return variable;
}

/** What the settings of a weight are called after: `depthwise` for `depthwiseKernel`. */
function stemOf(field: string): string {
  return field.replace(/Kernel$/, '');
}

/** The penalty on a float32 weight, before those on the layer's other weights. */
function addRegularizer(layer: Layer, field: string, variable: LayerVariable): void {
  const regularizer = (layer as unknown as Int8Layer)[`${stemOf(field)}Regularizer`] as {
    apply(x: tf.Tensor): tf.Scalar;
  } | null;
  if (regularizer) lossesOf(layer).unshift(() => regularizer.apply(variable.read()));
}

/** The class of an embedding or convolution and its INT8 form; undefined for Dense. */
function formOf(layer: Layer): CompressibleClass | undefined {
  const prototype: unknown = Object.getPrototypeOf(layer);
  return COMPRESSIBLE_CLASSES.find(
    ({stock, int8}) => prototype === stock.prototype || prototype === int8.prototype,
  );
}

/** The penalty on a weight is a closure over its variable, which is gone: as a constant it has no gradient anyway. */
function dropRegularizer(layer: Layer, field: string): void {
  if ((layer as unknown as Int8Layer)[`${stemOf(field)}Regularizer`]) lossesOf(layer).shift();
}
