/**
 * @file Weights that become INT8 as they are read, so that a model never lies in memory as float32 whole: what
 * `compressWeights` gives of the loaded model.
 */
import type * as tf from '@tensorflow/tfjs';
import {weightPaths} from '../../compress.js';
import {asInt8} from '../../layers/int8-weight.js';
import {compressibleWeights, type PlacedWeight} from '../../model/compressible.js';
import {quantizeWeight, replaceByInt8} from '../../model/replace-by-int8.js';
import type {Int8Mode} from '../../quantization/int8.js';
import type {IgnoredScope, TargetScope} from '../../scope/target-scope.js';
import {floatsOf} from '../../tensor-values.js';
import type {LayerVariable} from '../../tfjs.js';
import {write} from './load-weights.js';

export class Int8Weights {
  /** By variable, which two layers may share. */
  private readonly placed = new Map<LayerVariable, PlacedWeight[]>();

  /** @param weights Those that are to be INT8. */
  constructor(
    weights: Iterable<PlacedWeight>,
    private readonly mode: Int8Mode,
  ) {
    for (const weight of weights) {
      this.placed.set(weight.variable, [...(this.placed.get(weight.variable) ?? []), weight]);
    }
  }

  /**
   * Those that `compressWeights` would make INT8 of a model whose weights have no values yet.
   *
   * @throws {ScopeError} if the scope does not fit the model.
   */
  static of(
    model: tf.LayersModel,
    mode: Int8Mode,
    ignoredScope: IgnoredScope | TargetScope | null,
  ): Int8Weights {
    const paths = weightPaths(model, ignoredScope);
    const weights = compressibleWeights(model);
    return new Int8Weights(
      weights.filter(({path, variable}) => paths.has(path) && asInt8(variable) === undefined),
      mode,
    );
  }

  /** The variables whose layers have others now, once all are stored. */
  get replaced(): ReadonlySet<LayerVariable> {
    return new Set(this.placed.keys());
  }

  /** Puts values where they belong, as `StoreWeight`. */
  store(variable: LayerVariable, values: Float32Array, isTransposed: boolean): void {
    const places = this.placed.get(variable);
    if (places === undefined) write(variable, values, isTransposed);
    else this.replace(places, values, isTransposed);
  }

  /** Puts a tensor where it belongs; it is disposed then. */
  async storeTensor(variable: LayerVariable, tensor: tf.Tensor): Promise<void> {
    const places = this.placed.get(variable);
    try {
      if (places === undefined) variable.write(tensor);
      else this.replace(places, floatsOf(await tensor.data()), false);
    } finally {
      tensor.dispose();
    }
  }

  private replace(places: readonly PlacedWeight[], values: Float32Array, isTransposed: boolean): void {
    const int8 = quantizeWeight(places[0], values, this.mode, isTransposed);
    for (const placed of places) replaceByInt8(placed, int8);
  }
}
