/** @file What a `model.json` says of a model beside where its weights are. */
import * as tf from '@tensorflow/tfjs';

import {ModelError} from '../../errors.js';
import {topologyOf} from '../../model/savable.js';

/** All fields but the manifest. */
export function modelDescription(model: tf.LayersModel) {
  return {
    modelTopology: topologyOf(model),
    format: 'layers-model',
    generatedBy: `TensorFlow.js tfjs-layers v${tf.version['tfjs-layers']}`,
    convertedBy: null,
    userDefinedMetadata: model.getUserDefinedMetadata(),
  };
}

/**
 * The entries of the manifest for weights in their order.
 *
 * @throws {ModelError} as `namedWeights`; `unsupported-dtype`.
 */
export function weightSpecs(weights: readonly tf.LayerVariable[]) {
  return namedWeights(weights).map(({name, tensor}) => ({
    name,
    shape: tensor.shape,
    dtype: storedDtype(tensor),
  }));
}

/** A weight's value under the name that it is saved by. */
interface NamedWeight {
  readonly name: string;
  readonly tensor: tf.Tensor;
}

/**
 * Weights by the names that they are saved by.
 *
 * @throws {ModelError} `duplicate-weight`, `disposed-model`.
 */
export function namedWeights(weights: readonly tf.LayerVariable[]): NamedWeight[] {
  const names = new Set<string>();
  return weights.map((variable) => {
    const name = variable.originalName;
    if (names.has(name)) {
      throw new ModelError(
        'duplicate-weight',
        `two weights of the model are called "${name}", so it could not be loaded again: give its layers different names`,
        {name},
      );
    }
    names.add(name);
    try {
      return {name, tensor: variable.read()};
    } catch (cause) {
      throw new ModelError(
        'disposed-model',
        `the model is disposed: its weight "${name}" is gone`,
        {name},
        {cause},
      );
    }
  });
}

function storedDtype({dtype}: tf.Tensor): 'float32' | 'int32' | 'bool' {
  if (dtype === 'float32' || dtype === 'int32' || dtype === 'bool') return dtype;
  throw new ModelError(
    'unsupported-dtype',
    `a weight has dtype ${dtype}; it must be float32, int32 or bool`,
    {dtype},
  );
}
