/**
 * @file The activation of a layer in its configuration. TensorFlow.js writes the name of an activation's class alone, in
 * snake case (`tfjs-layers/src/activations.ts`, `serializeActivation`). That loses one that is a layer (ReLU with a
 * maximum, LeakyReLU: how Keras writes `activation=ReLU(6)`), which it can read as `{class_name, config}`.
 */
import * as tf from '@tensorflow/tfjs';
import {ModelError} from '../errors.js';
import type {Layer} from '../tfjs.js';

/** A layer's fields that hold activations, which are keys of its configuration too. */
export const ACTIVATION_FIELDS = ['activation', 'recurrentActivation'] as const;

/** An activation of TensorFlow.js, or a layer that stands for one. */
export interface Activation {
  getClassName(): string;
  getConfig?(): tf.serialization.ConfigDict;
}

/** Whether an activation is a layer. */
export function isLayerActivation(activation: object | null | undefined): activation is Layer {
  return activation instanceof tf.layers.Layer;
}

/** A configuration with the activations of its layer as TensorFlow.js can read them: a layer with its class and settings. */
export function withActivations(
  layer: object,
  config: tf.serialization.ConfigDict,
): tf.serialization.ConfigDict {
  const whole = {...config};
  for (const field of ACTIVATION_FIELDS) {
    const activation = (layer as Partial<Record<string, object | null>>)[field];
    if (isLayerActivation(activation)) {
      whole[field] = {className: activation.getClassName(), config: activation.getConfig()};
    }
  }
  return whole;
}

/**
 * Checks that an activation comes back from a saved model as it was.
 *
 * @param path Of the layer that has it.
 * @throws {ModelError} `unsavable-activation`.
 */
export function checkSavable(activation: Activation, path: string): void {
  const className = activation.getClassName();
  const reason = isLayerActivation(activation)
    ? whyNotAsLayer(activation)
    : camelCase(snakeCase(className)) === className
      ? null
      : 'TensorFlow.js changes that name when it saves it';
  if (reason === null) return;
  throw new ModelError(
    'unsavable-activation',
    `layer "${path}" has the activation ${className}, which a saved model cannot keep: ${reason}; make the layer ` +
      'without an activation and put a layer after it that computes it',
    {path, activation: className},
  );
}

function whyNotAsLayer(layer: Layer): string | null {
  const className = layer.getClassName();
  if (layer.weights.length > 0) return 'it is a layer with weights';
  if (camelCase(className) !== className) return 'TensorFlow.js changes that name when it loads it';
  if (!isKept(layer.getConfig())) return 'TensorFlow.js changes its settings when it saves them';
  return null;
}

/** Whether a configuration is the same after it was saved and loaded, which changes the case of keys and of words. */
function isKept(value: unknown): boolean {
  if (value === null || typeof value === 'boolean') return true;
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value === 'string') return camelCase(snakeCase(value)) === value;
  if (Array.isArray(value)) return value.every(isKept);
  if (typeof value !== 'object') return value === undefined; // it is written as null
  return Object.entries(value).every(
    ([key, item]) =>
      camelCase(snakeCase(key)) === key && ((key === 'name' && typeof item === 'string') || isKept(item)),
  );
}

/** As TensorFlow.js writes words (`utils/generic_utils.ts`). */
function snakeCase(word: string): string {
  return word
    .replace(/(.)([A-Z][a-z0-9]+)/g, '$1_$2')
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase();
}

/** As TensorFlow.js reads words. */
export function camelCase(word: string): string {
  return word.length <= 1 ? word : word.replace(/_+(\w|$)/g, (_, letter: string) => letter.toUpperCase());
}
