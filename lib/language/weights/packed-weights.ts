/**
 * @file Weights that are packed as they are read, so that a model never lies in memory as float32 whole: what `compressWeights`
 * gives of the loaded model.
 */
import type * as tf from '@tensorflow/tfjs';
import {compressionPlan} from '../../compress.js';
import type {CompressAsRead} from '../../compression/compression-options.js';
import type {CompressionPlan} from '../../compression/plan.js';
import {compressibleWeights, type PlacedWeight} from '../../model/compressible.js';
import {quantizeWeight, replaceWeight} from '../../model/replace-weights.js';
import {floatsOf} from '../../tensor-values.js';
import type {LayerVariable} from '../../tfjs.js';
import {write} from './load-weights.js';

/**
 * What `compressWeights` would do with a model whose weights have no values yet; nothing without `compress`.
 *
 * @throws {ScopeError} if the scope does not fit the model; what `compressWeights` throws of its options.
 */
export function planAsRead(
  model: tf.LayersModel,
  {compress, compressIgnoredScope = null, compressOptions = {}}: CompressAsRead,
): CompressionPlan {
  if (compress === undefined) return new Map();
  return compressionPlan(model, compressIgnoredScope, {...compressOptions, mode: compress});
}

export class PackedWeights {
  /** By variable, which two layers may share. */
  private readonly placed = new Map<LayerVariable, PlacedWeight[]>();

  /** @param model Its weights that the plan names are packed as they are stored. */
  constructor(
    model: tf.LayersModel,
    private readonly plan: CompressionPlan,
  ) {
    for (const weight of compressibleWeights(model)) {
      if (!plan.has(weight.path)) continue;
      this.placed.set(weight.variable, [...(this.placed.get(weight.variable) ?? []), weight]);
    }
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
    const packed = quantizeWeight(places[0], values, this.plan.get(places[0].path)!, isTransposed);
    for (const placed of places) replaceWeight(placed, packed);
  }
}
