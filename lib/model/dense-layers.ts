/**
 * @file The Dense layers of a model: which there are, which of them a set of scopes selects, and turning those into
 * `SparsifyingDense` and back.
 */
import type * as tf from '@tensorflow/tfjs';
import {ModelError} from '../errors.js';
import {
  toSparsifyingDense,
  isPlainDense,
  isSparsifyingDense,
  toPlainDense,
  type SparsifyingDense,
} from '../layers/sparsifying-dense.js';
import type {ModelGraph} from '../scope/model-graph.js';
import {asContainer, isContainer, rawValue, type DenseLayer, type Layer} from '../tfjs.js';
import {stockTypeOf} from './compressible.js';
import {walkModel, type ModelLayers, type PlacedLayer} from './walk.js';

/** Class names of the layers that can be sparsified, as a scope's `types` names them. */
export const SPARSIFIABLE_TYPES: ReadonlySet<string> = new Set(['Dense']);

/** A Dense layer and where it stands. */
export interface PlacedDense extends PlacedLayer {
  readonly layer: DenseLayer;
}

/** A model, or the walk of one that was made before: who asks for several things walks the model once. */
export type Walkable = tf.LayersModel | ModelLayers;

function walked(model: Walkable): ModelLayers {
  return 'edges' in model ? model : walkModel(asContainer(model));
}

/** All Dense layers of a model, sparsifying or not, in the order of the graph. */
export function denseLayers(model: Walkable): PlacedDense[] {
  return walked(model).layers.filter(isPlacedDense);
}

/**
 * The layers of a model that mask their inputs or were made to, by path, in the order of the graph: not those whose
 * weights are compressed and no more.
 */
export function maskingLayers(model: Walkable): Map<string, SparsifyingDense> {
  return new Map([...sparsifyingDenseLayers(model)].filter(([, layer]) => isMasking(layer)));
}

/** All `SparsifyingDense` layers of a model, by path, in the order of the graph: those with packed kernels are too. */
export function sparsifyingDenseLayers(model: Walkable): Map<string, SparsifyingDense> {
  const found = new Map<string, SparsifyingDense>();
  for (const {path, layer} of denseLayers(model)) if (isSparsifyingDense(layer)) found.set(path, layer);
  return found;
}

/** Whether a Dense layer masks its inputs, or was made to. */
export function isMasking(layer: DenseLayer): layer is SparsifyingDense {
  if (!isSparsifyingDense(layer)) return false;
  return (
    layer.compression === null ||
    layer.targetSparsity !== null ||
    layer.threshold!.read().dataSync()[0] !== -Infinity
  );
}

/** The model as scopes see it: one node a layer, named by its path; a sparsified Dense is still a `Dense`. */
export function graphOf(model: Walkable): ModelGraph {
  const {layers, edges} = walked(model);
  const nodes = layers.map(({path, layer}) => ({name: path, type: stockTypeOf(layer)}));
  return {nodes, edges};
}

/**
 * Makes the Dense layers at `paths` sparsifying; those that are already stay as they are.
 *
 * @returns A function that undoes it.
 */
export function makeSparsifying(model: Walkable, paths: ReadonlySet<string>): () => void {
  const adopted: SparsifyingDense[] = [];
  for (const {path, layer} of denseLayers(model)) {
    if (paths.has(path) && !isSparsifyingDense(layer)) adopted.push(toSparsifyingDense(layer));
  }
  return () => adopted.forEach(toPlainDense);
}

/**
 * Checks that a model can be worked on, and has something to work on.
 *
 * @returns The walk of the model.
 * @throws {ModelError} `no-dense-layers`, and the codes of `checkUsable`.
 */
export function checkModel(model: tf.LayersModel): ModelLayers {
  const found = checkUsable(model);
  const {layers} = found;
  if (!layers.some(isPlacedDense)) {
    const types = [...new Set(layers.map(({type}) => type))];
    throw new ModelError(
      'no-dense-layers',
      `the model has no Dense layer to sparsify; its layers are of the types ${types.join(', ')}`,
      {types},
    );
  }
  return found;
}

/**
 * Checks that a model can be run, and builds it if it is a Sequential that was not used yet.
 *
 * @returns The walk of the model.
 * @throws {ModelError} `not-a-layers-model`, `disposed`, or `not-built`.
 */
export function checkUsable(model: tf.LayersModel): ModelLayers {
  if (typeof model !== 'object' || !isContainer(model)) {
    throw new ModelError(
      'not-a-layers-model',
      'the model is not a tf.LayersModel of this copy of TensorFlow.js; load it with tf.loadLayersModel (a graph ' +
        'model cannot be sparsified), and see that @tensorflow/tfjs is installed once: npm ls @tensorflow/tfjs',
    );
  }
  ensureBuilt(model);
  const found = walkModel(asContainer(model));
  for (const {path, layer} of found.layers) {
    if (layer.weights.some((weight) => rawValue(weight).isDisposed)) {
      throw new ModelError(
        'disposed',
        `the model is disposed: the weights of "${path}" are gone; load it anew`,
        {
          path,
        },
      );
    }
  }
  return found;
}

/**
 * Builds a model that has not been used yet: a Sequential has no input names until then.
 *
 * @throws {ModelError} `not-built` if its input shape is unknown.
 */
export function ensureBuilt(model: tf.LayersModel): void {
  if (model.inputs.length === 0) {
    throw new ModelError(
      'not-built',
      'the model has no input shape yet; give its first layer an inputShape or call model.build() first',
    );
  }
  if (!model.built) model.build(model.inputs[0].shape); // a Sequential builds itself at its first use otherwise
}

function isPlacedDense(placed: PlacedLayer): placed is PlacedDense {
  const {layer} = placed;
  return (isPlainDense(layer) || isSparsifyingDense(layer)) && isBuilt(layer);
}

function isBuilt(layer: Layer): boolean {
  return (layer as DenseLayer).kernel !== null;
}
