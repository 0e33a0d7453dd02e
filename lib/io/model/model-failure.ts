/** @file Why TensorFlow.js could not build a model, found in its topology: never in the words of what it threw. */
import * as tf from '@tensorflow/tfjs';
import type {io} from '@tensorflow/tfjs';

import {ModelError} from '../../errors.js';
import {camelCase} from '../../layers/activation-config.js';

/**
 * The error for a topology that TensorFlow.js refused.
 *
 * @param source Path or URL of the model.json.
 * @param topology Its `modelTopology`.
 * @param cause What was thrown.
 * @returns `unknown-layer` if a class in it is not registered, else `malformed-topology`.
 */
export function buildFailure(
  source: string,
  topology: io.ModelJSON['modelTopology'],
  cause: unknown,
): ModelError {
  const unknown = unknownClass(topology);
  if (unknown !== undefined) {
    return new ModelError(
      'unknown-layer',
      `${source} uses "${unknown}", which is not registered: call registerLayers() before loading a sparsified ` +
        'model, and tf.serialization.registerClass for a layer of your own',
      {source, layer: unknown},
      {cause},
    );
  }
  return new ModelError(
    'malformed-topology',
    `${source} describes a model that TensorFlow.js cannot build (${said(cause)}): load it where it was made and save it again`,
    {source},
    {cause},
  );
}

/** The error for weights that are not those of the model. */
export function matchFailure(source: string, cause: unknown): ModelError {
  return new ModelError(
    'weights-mismatch',
    `the weights in ${source} are not those of its layers (${said(cause)}): its weights belong to another model`,
    {source},
    {cause},
  );
}

/** The first class in a topology that is not registered; activations are classes too, by their name alone. */
function unknownClass(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const known = tf.serialization.SerializationMap.getMap().classNameMap;
  if (!Array.isArray(value)) {
    const {class_name: python, className = python, config} = value as Record<string, unknown>;
    if (typeof className === 'string' && typeof config === 'object' && !Object.hasOwn(known, className))
      return className;
  }
  for (const [key, child] of Object.entries(value)) {
    const isActivation = /^(recurrent_?)?activation$/i.test(key) && typeof child === 'string';
    if (isActivation && !Object.hasOwn(known, camelCase(child))) return child;
    const inner = unknownClass(child);
    if (inner !== undefined) return inner;
  }
  return undefined;
}

function said(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
