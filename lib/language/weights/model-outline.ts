/**
 * @file A model whose large weights have no values: what scopes are matched against, and what topology, names and order
 * of weights are taken from, while the values pass through memory part by part. Zeros that nothing reads take no memory
 * (fresh pages of the system). Vectors (norms, biases, thresholds) do get their values.
 */
import type * as tf from '@tensorflow/tfjs';
import {targetsIn} from '../../allocation/allocation-targets.js';
import {compressibleWeights} from '../../model/compressible.js';
import {
  SPARSIFIABLE_TYPES,
  graphOf,
  makeSparsifying,
  sparsifyingDenseLayers,
} from '../../model/dense-layers.js';
import {replaceWeight, unfilledWeight} from '../../model/replace-weights.js';
import {walkModel} from '../../model/walk.js';
import {selectTargets} from '../../scope/select-targets.js';
import type {SparsifyScopes} from '../../sparsify.js';
import {asContainer, rawValue, type LayerVariable} from '../../tfjs.js';
import type {Checkpoint} from './checkpoint.js';
import {buildModel} from '../graph/build-model.js';
import {PackedWeights, planAsRead, type PlanAsRead, type WeightsAsRead} from './packed-weights.js';
import type {WeightStore} from './load-weights.js';
import {attachMetadata} from '../config/saved-metadata.js';

export interface OutlineOptions extends Partial<SparsifyScopes>, WeightsAsRead {}

export class ModelOutline {
  /** Compressed and sparsified as asked for; its matrices are zeros. */
  readonly model: tf.LayersModel;
  /** Target sparsity by path, in the order of the graph. */
  readonly targets: ReadonlyMap<string, number>;
  private readonly plan: PlanAsRead;

  /** @throws {ScopeError} if the scopes do not fit the model. */
  constructor(checkpoint: Checkpoint, options: OutlineOptions) {
    const {targetSparsityByScope, ignoredScope} = options;
    this.model = buildModel(checkpoint.config);
    try {
      attachMetadata(this.model, checkpoint);
      this.plan = planAsRead(this.model, options, checkpoint);
      for (const placed of compressibleWeights(this.model)) {
        const compression = this.plan.get(placed.path);
        if (compression !== undefined) replaceWeight(placed, unfilledWeight(placed, compression));
      }
      this.targets =
        targetSparsityByScope === undefined
          ? new Map()
          : selectTargets(
              graphOf(this.model),
              targetsIn(targetSparsityByScope),
              ignoredScope,
              SPARSIFIABLE_TYPES,
            );
      this.sparsify(this.model);
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** Makes the targeted layers of the model or a part of it sparsifying, each with its target. */
  sparsify(part: tf.LayersModel): void {
    makeSparsifying(part, new Set(this.targets.keys()));
    for (const [path, layer] of sparsifyingDenseLayers(part)) {
      layer.targetSparsity = this.targets.get(path) ?? layer.targetSparsity;
    }
  }

  /** How the weights of a part are stored: those that are to be packed are quantized at once. */
  storeIn(part: tf.LayersModel): WeightStore {
    return new PackedWeights(part, this.plan);
  }

  /** Takes over the thresholds of a part; returns the variables that hold them here. */
  takeThresholds(part: tf.LayersModel): LayerVariable[] {
    const layers = sparsifyingDenseLayers(this.model);
    return [...sparsifyingDenseLayers(part)].map(([path, {threshold, reachedSparsity}]) => {
      const layer = layers.get(path)!;
      layer.setThreshold(threshold!.read().dataSync()[0], reachedSparsity);
      return layer.threshold!;
    });
  }

  dispose(): void {
    disposePart(this.model);
  }
}

/** Disposes a model with the weights of layers inside its layers. */
export function disposePart(part: tf.LayersModel): void {
  const weights = walkModel(asContainer(part)).layers.flatMap(({layer}): LayerVariable[] => layer.weights);
  part.dispose();
  for (const weight of weights) if (!rawValue(weight).isDisposed) weight.dispose();
}
