/**
 * @file A layer made anew from its configuration, with the weights of another: for layers that keep state where only
 * their own constructor can make it.
 */
import * as tf from '@tensorflow/tfjs';
import {ModelError} from '../errors.js';
import {
  existingVariables,
  ownNonTrainableWeights,
  ownTrainableWeights,
  rawValue,
  shapedSymbol,
  type Layer,
  type LayerVariable,
} from '../tfjs.js';
import {heldLayers} from './walk.js';

export interface RebuiltLayer {
  readonly copy: Layer;
  /** Its variables by those of the original, whose data they share. */
  readonly weights: ReadonlyMap<LayerVariable, LayerVariable>;
  /** Further variables that it made and does not list. */
  readonly others: readonly tf.Variable[];
}

/**
 * Makes a layer of the same class and configuration, builds it, and gives it the weights of the original. Layers that it
 * holds in fields count for themselves: their weights are left out.
 *
 * @param inputs What the original is called with in its graph.
 * @throws {ModelError} `cannot-rebuild` if it then lists other weights; and what its class throws.
 */
export function rebuildLayer(layer: Layer, inputs: readonly tf.SymbolicTensor[]): RebuiltLayer {
  const before = new Set(existingVariables());
  try {
    return rebuild(layer, inputs, before);
  } catch (error) {
    for (const variable of existingVariables()) if (!before.has(variable)) variable.dispose();
    throw error;
  }
}

function rebuild(
  layer: Layer,
  inputs: readonly tf.SymbolicTensor[],
  before: ReadonlySet<tf.Variable>,
): RebuiltLayer {
  const LayerClass = layer.constructor as unknown as tf.serialization.SerializableConstructor<Layer>;
  const copy = LayerClass.fromConfig(LayerClass, layer.getConfig());
  if (layer.built && !copy.built) {
    const symbols = inputs.map(({dtype, shape}) => shapedSymbol(dtype, shape));
    copy.apply(symbols.length === 1 ? symbols[0] : symbols);
  }
  const [from, to] = [ownWeights(layer), ownWeights(copy)];
  const fits = from.length === to.length && from.every((variable, i) => isAlike(variable, to[i]));
  if (!fits) {
    throw new ModelError(
      'cannot-rebuild',
      `its weights are ${namesOf(to)} when it is made from its configuration`,
    );
  }
  const weights = new Map(from.map((variable, i) => [variable, to[i]]));
  for (const [original, made] of weights) {
    (rawValue(made) as tf.Variable).assign(original.read()); // not by `write`, which would apply the constraint
    made.trainable = original.trainable;
    Object.assign(made, {originalName: original.originalName});
  }
  const listed = new Set<tf.Tensor>(to.map(rawValue));
  return {
    copy,
    weights,
    others: existingVariables().filter((made) => !before.has(made) && !listed.has(made)),
  };
}

/** The weights that a layer lists and that no layer in its fields does; in an order that does not tell which are trained. */
function ownWeights(layer: Layer): LayerVariable[] {
  const held = new Set(heldLayers(layer).flatMap(({weights}) => weights));
  const listed = new Set([...ownTrainableWeights(layer), ...ownNonTrainableWeights(layer), ...layer.weights]);
  return [...listed].filter((weight) => !held.has(weight));
}

function isAlike(a: LayerVariable, b: LayerVariable): boolean {
  return (
    a.dtype === b.dtype &&
    tf.util.arraysEqual(a.shape as number[], b.shape as number[]) &&
    lastName(a) === lastName(b)
  );
}

function lastName({originalName}: LayerVariable): string {
  return originalName.slice(originalName.lastIndexOf('/') + 1);
}

function namesOf(weights: readonly LayerVariable[]): string {
  return weights.length === 0 ? 'none' : weights.map(lastName).join(', ');
}
