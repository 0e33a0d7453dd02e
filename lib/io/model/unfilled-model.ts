/**
 * @file Builds a LayersModel from its topology without running the initializers of its weights, whose values are
 * to be loaded: Glorot and orthogonal ones take minutes for gigabytes, and hold a second copy of the weights. Every
 * weight that a layer of any kind makes with `addWeight` starts as zeros instead, which cost no memory until they
 * are read (fresh pages of the system). TensorFlow.js does the same while it loads, but not for layers inside
 * wrappers and cells. Also TensorFlow.js's own matching of names to weights, without its values.
 */
import * as tf from '@tensorflow/tfjs';
import type {io} from '@tensorflow/tfjs';
import {rawValue, withWeightsStartingAs, type Initializer, type LayerVariable} from '../../tfjs.js';

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
   * @param start What weights start as; by default as zeros, which a layer may read while it is built.
   * @throws What TensorFlow.js throws for a topology that it cannot build; no weight is left then.
   */
  static async build(
    modelTopology: io.ModelJSON['modelTopology'],
    start: Initializer = ZEROS,
  ): Promise<UnfilledModel> {
    const initializers = new Map<LayerVariable, () => tf.Tensor>();
    // All layers are built before the call returns, so nothing else sees the other initializer.
    const building = withWeightsStartingAs(
      start,
      (variable, initialize) => void initializers.set(variable, initialize),
      () => tf.models.modelFromJSON({modelTopology}),
    );
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
