/**
 * @file Copies the objects of a model with their prototypes, field by field, and what they refer to. Nothing recurses:
 * an object's copy is made at once and its fields are filled later, so that the depth of a model does not matter.
 */
import * as tf from '@tensorflow/tfjs';
import {ModelError} from '../errors.js';
import {
  constraintOf,
  existingVariables,
  freshCallId,
  freshLayerId,
  isContainer,
  isGraphCall,
  lossesOf,
  makeLayerVariable,
  makeTensorCopy,
  rawValue,
  statesOf,
  trainingOf,
  type Layer,
  type LayerVariable,
} from '../tfjs.js';
import {hasPrivateMembers} from './hidden-state.js';
import {rebuildLayer, type RebuiltLayer} from './rebuilt-layer.js';
import {isRedirected, redirected} from './redirected-function.js';

/** Functions bound to the model that holds them; TensorFlow.js makes those for training anew when they are absent. */
const BOUND_TO_MODEL: ReadonlySet<string> = new Set([
  'trainFunction',
  'testFunction',
  'predictFunction',
  'dispose',
]);

/** Settings of `compile` as the program gave them: saving a model looks its functions up by identity. */
const AS_GIVEN: ReadonlySet<string> = new Set(['loss', 'metrics']);

/** A layer cannot be made anew from its configuration. */
export class RebuildError extends Error {
  constructor(
    readonly layer: Layer,
    cause: unknown,
  ) {
    super(cause instanceof Error ? cause.message : String(cause), {cause});
  }
}

/** Layers that are made from their configuration, and what one was called with, as far as it is known. */
export type Rebuilds = ReadonlyMap<Layer, readonly tf.SymbolicTensor[]>;

export class Cloner {
  /** Copies by original, variables that a rebuilt layer made included. */
  readonly copies = new Map<object, object>();
  /** Tensors and variables that the copies own besides the weights that layers list. */
  private readonly owned: tf.Tensor[] = [];
  private readonly unfilled: (() => void)[] = [];
  private readonly redirectable = new Set<unknown>();

  /** @param rebuilds Layers that are made anew from their configuration instead, and get their weights then. */
  constructor(private readonly rebuilds: Rebuilds) {}

  /**
   * Copies an object and all that it refers to.
   *
   * @throws {ModelError} `cannot-copy`, or {RebuildError}; what was made is disposed then.
   */
  clone<T extends object>(value: T): T {
    const before = new Set(existingVariables());
    try {
      for (const [layer, inputs] of this.rebuilds) this.rebuild(layer, inputs);
      const copy = this.copy(value) as T;
      for (let fill = this.unfilled.pop(); fill !== undefined; fill = this.unfilled.pop()) fill();
      return copy;
    } catch (error) {
      for (const variable of existingVariables()) if (!before.has(variable)) variable.dispose();
      this.dispose();
      throw error;
    }
  }

  /** Disposes all tensors and variables of the copies, and the states that copied recurrent layers came to. */
  dispose(): void {
    for (const copy of this.copies.values()) {
      if (copy instanceof tf.LayerVariable && !rawValue(copy).isDisposed) copy.dispose();
      if (copy instanceof tf.layers.Layer) disposeOnce(statesOf(copy));
    }
    disposeOnce(this.owned);
  }

  /** The copy of a value; the same object always gives the same copy, so that cycles and sharing are kept. */
  private copy(value: unknown): unknown {
    if (typeof value === 'function') return this.copyFunction(value);
    if (value === null || typeof value !== 'object') return value;
    const known = this.copies.get(value);
    if (known !== undefined) return known;
    if (value instanceof tf.LayerVariable) return this.copyVariable(value);
    if (value instanceof tf.Tensor) return this.copyTensor(value as tf.Tensor);
    if (value instanceof tf.SymbolicTensor) return this.copySymbolicTensor(value);
    if (Array.isArray(value)) return this.copyArray(value);
    if (value instanceof Map) return this.copyMap(value);
    if (value instanceof Set) return this.copySet(value);
    if (isOpaque(value)) return this.shareOrRefuse(value);
    return this.copyObject(value);
  }

  private remember<T extends object>(original: object, copy: T): T {
    this.copies.set(original, copy);
    return copy;
  }

  private copyFunction(value: object): unknown {
    const known = this.copies.get(value);
    if (known !== undefined) return known;
    if (!this.redirectable.has(value) && !isRedirected(value)) return value;
    return this.remember(value, redirected(value as (...args: unknown[]) => unknown, this.copies));
  }

  /** A variable of its own over the same data. */
  private copyVariable(variable: LayerVariable): LayerVariable {
    if (rawValue(variable).isDisposed) return variable; // of no use to the original either
    const copy = makeLayerVariable(variable.read(), variable.originalName, variable.trainable);
    this.unfilled.push(() => {
      Object.assign(copy, {constraint: this.copy(constraintOf(variable))});
    });
    return this.remember(variable, copy);
  }

  private copyTensor(tensor: tf.Tensor): tf.Tensor {
    if (tensor.isDisposed) return tensor;
    const copy = this.remember(tensor, makeTensorCopy(tensor));
    this.owned.push(copy);
    return copy;
  }

  private copyArray(value: unknown[]): unknown[] {
    const copy = this.remember<unknown[]>(
      value,
      Reflect.construct(Array, [], value.constructor) as unknown[],
    );
    this.unfilled.push(() => {
      for (const item of value) copy.push(this.copy(item));
    });
    return copy;
  }

  private copyMap(value: Map<unknown, unknown>): Map<unknown, unknown> {
    const made = Reflect.construct(Map, [], value.constructor) as Map<unknown, unknown>;
    const copy = this.remember(value, made);
    this.unfilled.push(() => {
      for (const [key, item] of value) Map.prototype.set.call(copy, this.copy(key), this.copy(item));
      this.copyFields(value, copy);
    });
    return copy;
  }

  private copySet(value: Set<unknown>): Set<unknown> {
    const copy = this.remember(value, Reflect.construct(Set, [], value.constructor) as Set<unknown>);
    this.unfilled.push(() => {
      for (const item of value) Set.prototype.add.call(copy, this.copy(item));
      this.copyFields(value, copy);
    });
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
    this.unfilled.push(() => {
      this.copyFields(value, copy, new Set(['id', 'name']));
    });
    return copy;
  }

  /** What a program attached to a model is shared if it cannot be copied; what computes is not. */
  private shareOrRefuse(value: object): object {
    if (value instanceof tf.Optimizer || isContainer(value)) {
      const what = isContainer(value) ? `the model "${value.name}"` : 'the optimizer';
      throw new ModelError(
        'cannot-copy',
        `${what} is of the class ${value.constructor.name}, whose private fields cannot be copied: change the ` +
          'model itself with inPlace: true, or ' +
          (isContainer(value) ? 'make it a tf.model' : 'compile it with an optimizer of TensorFlow.js'),
        {class: value.constructor.name},
      );
    }
    return value;
  }

  private copyObject(value: object): object {
    if (value instanceof tf.layers.Layer) this.noteFunctions(value);
    const copy = this.remember<object>(
      value,
      Object.create(Object.getPrototypeOf(value) as object) as object,
    );
    this.unfilled.push(() => {
      this.fillObject(value, copy);
    });
    return copy;
  }

  private fillObject(value: object, copy: object, except: ReadonlySet<string> = new Set()): void {
    if (isContainer(value)) {
      this.copyFields(value, copy, new Set([...BOUND_TO_MODEL, ...AS_GIVEN, ...except]));
      const training = trainingOf(value);
      const fresh = trainingOf(copy as typeof value);
      for (const field of AS_GIVEN as Set<'loss' | 'metrics'>)
        if (field in value) fresh[field] = training[field];
      if ('isOptimizerOwned' in fresh) fresh.isOptimizerOwned = true; // it is a new one: disposed with the copy
      fresh.isTraining = false;
    } else {
      this.copyFields(value, copy, except);
    }
    if (value instanceof tf.layers.Layer) Object.assign(copy, {id: freshLayerId()});
    if (isGraphCall(value)) Object.assign(copy, {id: freshCallId(value)});
  }

  /** Notes functions of a layer or a compiled model that may read its variables. */
  private noteFunctions(layer: Layer): void {
    for (const loss of lossesOf(layer)) this.redirectable.add(loss);
    if (!isContainer(layer)) return;
    const {loss, metrics} = trainingOf(layer);
    for (const given of functionsIn([loss, metrics])) this.redirectable.add(given);
  }

  private rebuild(layer: Layer, inputs: readonly tf.SymbolicTensor[]): void {
    const {copy, weights, others} = this.rebuilt(layer, inputs);
    this.owned.push(...others);
    for (const [original, made] of weights) this.remember(original, made);
    this.noteFunctions(layer);
    this.remember<object>(layer, copy);
    const functions = Object.entries(copy).flatMap(([field, held]) =>
      typeof held === 'function' ? [field] : [],
    );
    // Its penalties refer to its own variables already.
    this.unfilled.push(() => {
      this.fillObject(layer, copy, new Set(['_losses', ...functions]));
    });
  }

  private rebuilt(layer: Layer, inputs: readonly tf.SymbolicTensor[]): RebuiltLayer {
    try {
      return rebuildLayer(layer, inputs);
    } catch (cause) {
      throw new RebuildError(layer, cause);
    }
  }

  private copyFields(value: object, copy: object, except: ReadonlySet<string> = new Set()): void {
    for (const field of Reflect.ownKeys(value)) {
      if (typeof field === 'string' && except.has(field)) continue;
      const descriptor = Reflect.getOwnPropertyDescriptor(value, field)!;
      if ('value' in descriptor) descriptor.value = this.copy(descriptor.value);
      Object.defineProperty(copy, field, descriptor);
    }
  }
}

/** Disposes what is not disposed: disposing a variable again would free the data that it shared. */
function disposeOnce(tensors: readonly tf.Tensor[]): void {
  for (const tensor of tensors) if (!tensor.isDisposed) tensor.dispose();
}

/** All functions in arrays and plain objects, at any depth. */
function functionsIn(value: unknown): unknown[] {
  const found = new Set<unknown>();
  const open = new Set<unknown>([value]);
  // The set grows while it is walked.
  for (const item of open) {
    if (typeof item === 'function') found.add(item);
    else if (typeof item === 'object' && item !== null)
      for (const held of Object.values(item)) open.add(held);
  }
  return [...found];
}

/**
 * Objects whose state their fields do not hold: those of the language and of its host (memory, promises, dates, …), and
 * those of classes with private members, apart from layers.
 */
function isOpaque(value: object): boolean {
  if (value instanceof tf.layers.Layer && !isContainer(value)) return false;
  return (
    ArrayBuffer.isView(value) ||
    Object.prototype.toString.call(value) !== '[object Object]' ||
    hasPrivateMembers(value)
  );
}
