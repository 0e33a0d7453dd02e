/**
 * @file Builds a LayersModel from its topology without running the initializers of its weights, whose values are
 * to be loaded: Glorot and orthogonal ones take minutes for gigabytes, and hold a second copy of the weights. Every
 * weight that a layer of any kind makes with `addWeight` starts as zeros instead, which cost no memory until they
 * are read (fresh pages of the system). TensorFlow.js does the same while it loads, but not for layers inside
 * wrappers and cells. Also TensorFlow.js's own matching of names to weights, without its values.
 */

import * as tf from '@tensorflow/tfjs';
import type {io} from '@tensorflow/tfjs';

import {rawValue, type LayerVariable} from '../../tfjs.js';

/** What `addWeight` calls of an initializer. */
interface Initializer {
  apply(shape: number[], dtype?: tf.DataType): tf.Tensor;
}

/** `Layer.addWeight`, which is protected. */
type AddWeight = (
  this: tf.layers.Layer,
  name: string,
  shape: number[],
  dtype: tf.DataType | undefined,
  initializer: Initializer | undefined,
  ...rest: unknown[]
) => LayerVariable;

const ZEROS: Initializer = {apply: (shape, dtype) => tf.zeros(shape, dtype)};

/** A model whose weights have no values yet. */
export class UnfilledModel {
  private constructor(
    readonly model: tf.LayersModel,
    private readonly initializers: ReadonlyMap<LayerVariable, () => tf.Tensor>,
  ) {}

  /**
   * Builds the model.
   *
   * @param modelTopology The topology out of a parsed `model.json`.
   * @throws What TensorFlow.js throws for a topology that it cannot build; no weight is left then.
   */
  static async build(modelTopology: io.ModelJSON['modelTopology']): Promise<UnfilledModel> {
    const initializers = new Map<LayerVariable, () => tf.Tensor>();
    const prototype = tf.layers.Layer.prototype as unknown as {addWeight: AddWeight};
    const {addWeight} = prototype;
    prototype.addWeight = function (name, shape, dtype, initializer, ...rest) {
      if (!initializer) return addWeight.call(this, name, shape, dtype, initializer, ...rest);
      const variable = addWeight.call(this, name, shape, dtype, ZEROS, ...rest);
      initializers.set(variable, () => initializer.apply(shape, dtype ?? 'float32'));
      return variable;
    };
    let building: Promise<tf.LayersModel>;
    try {
      // All layers are built before this call returns, so nothing else sees the changed method.
      building = tf.models.modelFromJSON({modelTopology});
    } finally {
      prototype.addWeight = addWeight;
    }
    try {
      return new UnfilledModel(await building, initializers);
    } catch (cause) {
      disposeVariables(initializers.keys());
      throw cause;
    }
  }

  /**
   * Finds the weight that each name means, as `model.loadWeights` does in strict mode.
   *
   * @param specs The weights that there are; nothing but their names is looked at.
   * @throws What `model.loadWeights` throws for a weight that is missing or that the model does not have.
   */
  match(specs: readonly io.WeightsManifestEntry[]): Map<string, LayerVariable> {
    const matched = new Map<string, LayerVariable>();
    const variables = this.model.layers.flatMap(({weights}) => weights);
    for (const variable of variables) {
      const write = ({name}: {name: string}) => matched.set(name, variable);
      Object.defineProperty(variable, 'write', {value: write, configurable: true});
    }
    try {
      const standIns = specs.map((spec) => [spec.name, spec as unknown as tf.Tensor] as const);
      this.model.loadWeights(Object.fromEntries(standIns), true);
    } finally {
      for (const variable of variables) Reflect.deleteProperty(variable, 'write'); // the class's own again
    }
    return matched;
  }

  /** Runs the initializers of those weights that are not in `filled`: a layer may keep some that it does not list. */
  initializeOthers(filled: Iterable<LayerVariable>): void {
    const done = new Set(filled);
    for (const [variable, initialize] of this.initializers) {
      if (done.has(variable) || rawValue(variable).isDisposed) continue;
      tf.tidy(() => void variable.write(initialize()));
    }
  }

  /** Disposes every weight, also where `model.dispose()` does not reach. */
  dispose(): void {
    disposeVariables([...this.initializers.keys(), ...this.model.weights]);
  }
}

function disposeVariables(variables: Iterable<LayerVariable>): void {
  for (const variable of variables) if (!rawValue(variable).isDisposed) variable.dispose();
}
