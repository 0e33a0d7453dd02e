/**
 * @file Whether all of a model would come back from a file: the settings of activations that are layers, and the weights of
 * this package's layers inside custom layers.
 */
import * as tf from '@tensorflow/tfjs';
import {ModelError} from '../errors.js';
import {
  ACTIVATION_FIELDS,
  camelCase,
  checkSavable,
  isLayerActivation,
  withActivations,
  type Activation,
} from '../layers/activation-config.js';
import {isOwnLayer} from '../layers/registry.js';
import {asContainer, type Layer} from '../tfjs.js';
import {walkModel, type PlacedLayer} from './walk.js';

/**
 * Checks that a saved model will be the same.
 *
 * @throws {ModelError} `unsavable-activation`.
 */
export function checkActivations(model: tf.LayersModel): void {
  for (const {path, layer} of walkModel(asContainer(model)).layers) {
    for (const activation of activationsOf(layer)) checkSavable(activation, path);
  }
}

/**
 * Checks that the model lists every weight of this package's layers. A custom layer lists the weights of the layers inside
 * it only if its class says so; where it does not, a saved model would have plain Dense layers without thresholds again.
 *
 * @throws {ModelError} `unsavable-layer`.
 */
export function checkWeights(model: tf.LayersModel): void {
  const listed = new Set<unknown>(model.weights);
  for (const {path, layer, holder} of walkModel(asContainer(model)).layers) {
    if (holder === null || !isOwnLayer(layer)) continue;
    const missing = layer.weights.filter((weight) => !listed.has(weight)).map(({name}) => name);
    if (missing.length === 0) continue;
    throw new ModelError(
      'unsavable-layer',
      `layer "${holder.name}" (${holder.getClassName()}) does not list the weights ${missing.join(', ')} of "${path}", so a ` +
        `saved model would lose them: have its trainableWeights and nonTrainableWeights hold those of the layers inside it, ` +
        'and its getConfig their configurations (scripts/examples/custom-layer.mjs of this package shows how)',
      {layer: holder.name, path, missing},
    );
  }
}

/** `model.toJSON`, as an object, with all settings of all activations. */
export function topologyOf(model: tf.LayersModel): object {
  const changed = walkModel(asContainer(model)).layers.filter(hasLayerActivation);
  for (const {layer} of changed) {
    const getConfig = layer.getConfig.bind(layer);
    const value = () => withActivations(layer, getConfig());
    Object.defineProperty(layer, 'getConfig', {value, configurable: true, enumerable: false});
  }
  try {
    return model.toJSON(null, false) as object;
  } finally {
    for (const {layer} of changed) Reflect.deleteProperty(layer, 'getConfig'); // the class's own again
  }
}

/**
 * Checks the activations of a topology that TensorFlow.js wrote, where only the name of one that is a layer is left.
 *
 * @param topology As `model.save` gives it to its handler.
 * @throws {ModelError} `unsavable-activation` for a name that nothing is registered under.
 */
export function checkTopology(topology: object): void {
  const {classNameMap} = tf.serialization.SerializationMap.getMap();
  const open: unknown[] = [topology];
  while (open.length > 0) {
    const value = open.pop();
    if (typeof value !== 'object' || value === null) continue;
    for (const [key, item] of Object.entries(value)) {
      open.push(item);
      const isName = (key === 'activation' || key === 'recurrent_activation') && typeof item === 'string';
      if (!isName || Object.hasOwn(classNameMap, camelCase(item))) continue;
      const {name} = value as {name?: unknown};
      throw new ModelError(
        'unsavable-activation',
        `layer "${String(name)}" has the activation "${item}", under which TensorFlow.js knows nothing: if it is a ` +
          'layer, saveLayersModel keeps it; register one of your own with tf.serialization.registerClass',
        {layer: name, activation: item},
      );
    }
  }
}

function hasLayerActivation({layer}: PlacedLayer): boolean {
  return !Object.hasOwn(layer, 'getConfig') && activationsOf(layer).some(isLayerActivation);
}

function activationsOf(layer: Layer): Activation[] {
  return ACTIVATION_FIELDS.flatMap((field) => {
    const activation = (layer as unknown as Partial<Record<string, Activation | string | null>>)[field];
    return typeof activation === 'object' && activation !== null && 'getClassName' in activation
      ? [activation]
      : [];
  });
}
