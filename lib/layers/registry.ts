/**
 * @file Registration of this package's layers with TensorFlow.js, which finds a layer's class by its name when it
 * loads a model. That registry is global and the last class of a name wins; `withLayers` limits a registration to
 * one piece of work.
 */
import * as tf from '@tensorflow/tfjs';
import {registerSparsifiedMatMul} from '../kernels/sparsified-matmul.js';
import {COMPRESSIBLE_CLASSES} from './compressed-layers.js';
import {KerasNormalization} from './normalization.js';
import {SparsifyingDense} from './sparsifying-dense.js';

/** A layer class as TensorFlow.js registers it. */
export type SerializableClass = Parameters<typeof tf.serialization.registerClass>[0];

/** The layer classes of this package. */
const LAYERS: readonly SerializableClass[] = [
  SparsifyingDense,
  KerasNormalization,
  ...COMPRESSIBLE_CLASSES.flatMap(({int8, int4}) => (int4 === null ? [int8] : [int8, int4])),
] as unknown as readonly SerializableClass[];

/** Whether a layer is exactly of a class of this package. */
export function isOwnLayer(layer: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(layer);
  return LAYERS.some((own) => own.prototype === prototype);
}

/**
 * Makes `tf.loadLayersModel` understand sparsified and compressed models. Call it once before loading; again changes nothing.
 *
 * @example
 * registerLayers();
 * const model = await tf.loadLayersModel('file://out/model.json');
 */
export function registerLayers(): void {
  registerSparsifiedMatMul();
  for (const layer of LAYERS) tf.serialization.registerClass(layer);
}

/**
 * Runs `work` with this package's layers and `layers` registered, then restores what was registered under their
 * names before, also when it fails. For loading models whose custom layers share a name with others.
 *
 * @param layers Further custom layer classes, each with a static `className`.
 * @returns What `work` returns.
 * @example
 * const model = await withLayers([MyAttention], () => tf.loadLayersModel('file://out/model.json'));
 */
export async function withLayers<T>(
  layers: readonly SerializableClass[],
  work: () => T | Promise<T>,
): Promise<T> {
  registerSparsifiedMatMul();
  const {classNameMap} = tf.serialization.SerializationMap.getMap();
  const scoped = [...LAYERS, ...layers];
  const before = scoped.map((layer) => [layer.className, classNameMap[layer.className]] as const);
  try {
    for (const layer of scoped) tf.serialization.registerClass(layer);
    return await work();
  } finally {
    for (const [name, entry] of before) {
      if (entry === undefined) Reflect.deleteProperty(classNameMap, name);
      else classNameMap[name] = entry;
    }
  }
}
