/**
 * @file A copy of a model that shares the weights' memory: same layers, names and graph, new objects, so that
 * changing a layer of one leaves the other as it was.
 *
 * The objects are copied field by field with their prototypes rather than rebuilt from their configurations: that
 * also covers custom layers that are not registered or hold inner layers, runs no initializer, and costs no second
 * copy of the weights even for a moment. Each copied variable refers to the same data as its original (tfjs counts
 * references), so either model can be disposed or trained without harm to the other.
 */
import * as tf from '@tensorflow/tfjs';
import {
  asContainer,
  constraintOf,
  freshCallId,
  freshLayerId,
  freshOptimizer,
  isContainer,
  isGraphCall,
  makeLayerVariable,
  rawValue,
  setReferenceCount,
  type Container,
  type Layer,
} from '../tfjs.js';
import {walkModel} from './walk.js';

/** Functions bound to the model that holds them; TensorFlow.js makes those for training anew when they are absent. */
const BOUND_TO_MODEL = new Set(['trainFunction', 'testFunction', 'predictFunction', 'dispose']);

/**
 * @param model Built; its variables must not be disposed.
 * @returns A model that computes the same and shares the weights' memory; the caller disposes it.
 */
export function cloneModel(model: tf.LayersModel): tf.LayersModel {
  const copy = new Cloner().copy(asContainer(model)) as Container;
  countReferences(copy);
  return disposingAll(copy as unknown as tf.LayersModel);
}

/**
 * Lets `dispose` free every weight of the copy, those of layers inside custom layers too, which a custom layer may
 * not list among its weights.
 */
function disposingAll(copy: tf.LayersModel): tf.LayersModel {
  const dispose = () => {
    const result = tf.LayersModel.prototype.dispose.call(copy);
    if (result.refCountAfterDispose === 0) {
      for (const {layer} of walkModel(asContainer(copy)).layers) {
        for (const weight of layer.weights) if (!rawValue(weight).isDisposed) weight.dispose();
      }
    }
    return result;
  };
  return Object.assign(copy, {dispose});
}

/**
 * Sets how often each layer must be disposed until its weights are: once for every time that a model of the copy disposes it.
 * (TensorFlow.js counts calls instead, so that a layer called twice outlives its model.)
 */
function countReferences(model: Container): void {
  const references = new Map<Layer, number>();
  const count = (container: Container): void => {
    for (const layer of [...container.layers, ...container.internalContainerRefs]) {
      const before = references.get(layer) ?? 0;
      references.set(layer, before + 1);
      if (before === 0 && isContainer(layer)) count(layer);
    }
  };
  count(model);
  for (const [layer, uses] of references) setReferenceCount(layer, uses);
}

class Cloner {
  private readonly copies = new Map<object, object>();

  /** The copy of a value; the same object always gives the same copy, so that cycles and sharing are kept. */
  copy(value: unknown): unknown {
    if (value === null || typeof value !== 'object') return value;
    const known = this.copies.get(value);
    if (known !== undefined) return known;
    if (value instanceof tf.LayerVariable) return this.remember(value, copyVariable(value));
    if (value instanceof tf.SymbolicTensor) return this.copySymbolicTensor(value);
    if (value instanceof tf.Optimizer) return this.remember(value, freshOptimizer(value));
    if (isShared(value)) return value;
    if (Array.isArray(value)) return this.copyArray(value);
    if (value instanceof Map) return this.copyMap(value);
    if (value instanceof Set) return this.copySet(value);
    return this.copyObject(value);
  }

  private remember<T extends object>(original: object, copy: T): T {
    this.copies.set(original, copy);
    return copy;
  }

  private copyArray(value: unknown[]): unknown[] {
    const copy = this.remember<unknown[]>(value, []);
    for (const item of value) copy.push(this.copy(item));
    return copy;
  }

  private copyMap(value: Map<unknown, unknown>): Map<unknown, unknown> {
    const copy = this.remember(value, new Map<unknown, unknown>());
    for (const [key, item] of value) copy.set(this.copy(key), this.copy(item));
    return copy;
  }

  private copySet(value: Set<unknown>): Set<unknown> {
    const copy = this.remember(value, new Set());
    for (const item of value) copy.add(this.copy(item));
    return copy;
  }

  /**
   * A symbolic tensor gets a new id and a new unique name: the executor caches the order of execution under the
   * names, and would run the original's layers for an equal name.
   */
  private copySymbolicTensor(value: tf.SymbolicTensor): tf.SymbolicTensor {
    const {dtype, shape, callArgs, originalName, outputTensorIndex} = value;
    const fresh = new tf.SymbolicTensor(
      dtype,
      shape,
      value.sourceLayer,
      value.inputs,
      callArgs,
      originalName,
      outputTensorIndex,
    );
    const copy = this.remember(value, fresh);
    this.copyFields(value, copy, new Set(['id', 'name']));
    return copy;
  }

  private copyObject(value: object): object {
    const copy = this.remember<object>(value, emptyCopy(value));
    this.copyFields(value, copy, value instanceof tf.LayersModel ? BOUND_TO_MODEL : new Set());
    if ('isOptimizerOwned' in copy) copy.isOptimizerOwned = true; // it is a new one: disposed with the copy
    if (value instanceof tf.layers.Layer) Object.assign(copy, {id: freshLayerId()});
    if (isGraphCall(value)) Object.assign(copy, {id: freshCallId(value)});
    return copy;
  }

  private copyFields(value: object, copy: object, except: ReadonlySet<string>): void {
    for (const [field, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(value))) {
      if (except.has(field)) continue;
      if ('value' in descriptor) descriptor.value = this.copy(descriptor.value);
      Object.defineProperty(copy, field, descriptor);
    }
  }
}

/** An object of the same class to copy fields into. */
function emptyCopy(value: object): object {
  if (value instanceof tf.layers.Layer && hasPrivateFields(value)) {
    const LayerClass = value.constructor as unknown as tf.serialization.SerializableConstructor<Layer>;
    return LayerClass.fromConfig(LayerClass, value.getConfig());
  }
  return Object.create(Object.getPrototypeOf(value) as object) as object;
}

/** Whether a custom layer's class has `#private` fields, which only its own constructor can make. */
function hasPrivateFields(layer: Layer): boolean {
  return /(^|[^\w'"`$])#[A-Za-z_$]/.test(Function.prototype.toString.call(layer.constructor));
}

/** Values that both models may refer to: tensors, raw memory, and settings objects, which hold no state. */
function isShared(value: object): boolean {
  return (
    value instanceof tf.Tensor ||
    ArrayBuffer.isView(value) ||
    value instanceof ArrayBuffer ||
    value instanceof Promise ||
    value instanceof Date ||
    value instanceof RegExp ||
    (value instanceof tf.serialization.Serializable && !(value instanceof tf.layers.Layer))
  );
}

/** A variable of its own over the same data. */
function copyVariable(variable: tf.LayerVariable): tf.LayerVariable {
  return makeLayerVariable(
    variable.read(),
    variable.originalName,
    variable.trainable,
    constraintOf(variable),
  );
}
