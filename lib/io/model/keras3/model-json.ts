/**
 * @file A `model.json` that tensorflowjs_converter made of a file of Keras 3, in the form that TensorFlow.js reads: it knows Keras 2's only
 * (tensorflow/tfjs#8328). Every TensorFlow since 2.16 writes Keras 3.
 */
import type {io} from '@tensorflow/tfjs';

import {ModelError} from '../../../errors.js';
import {registerNormalization} from '../../../layers/normalization.js';
import {asContainer} from '../../../tfjs.js';
import {UnfilledModel} from '../unfilled-model.js';
import type {JsonObject} from './config-values.js';
import {KERAS3_REMEDY} from './layer-config.js';
import {isKeras3, keras2Topology} from './topology.js';
import {matchWeights} from './weight-names.js';

/**
 * Converts a model.json of Keras 3; another one comes back as it is.
 *
 * @param json Checked by `parseModelJson`.
 * @param source Its path or URL, for errors.
 * @returns The model.json with a topology and with names of weights that TensorFlow.js knows. Weights that are no model's are marked
 *     as an optimizer's, so that their bytes are passed over.
 * @throws {ModelError} `unsupported-layer`, `unknown-layer`, `malformed-topology`, `weights-mismatch`: each says that it is Keras 3,
 *     and the way out.
 */
export async function fromKeras3(json: io.ModelJSON, source: string): Promise<io.ModelJSON> {
  const topology = json.modelTopology as JsonObject;
  if (!isKeras3(topology)) return json;
  registerNormalization();
  const modelTopology = keras2Topology(topology, source);
  const unfilled = await build(modelTopology, source);
  try {
    const specs = json.weightsManifest.flatMap(({weights}) => weights);
    const variables = matchWeights(specs, topology, asContainer(unfilled.model), source);
    checkNames(
      [...variables.values()].map(({originalName}) => originalName),
      source,
    );
    const weightsManifest = json.weightsManifest.map((group) => ({
      ...group,
      weights: group.weights.map((spec) => {
        const variable = variables.get(spec.name);
        return variable === undefined
          ? {...spec, group: 'optimizer' as const}
          : {...spec, name: variable.originalName};
      }),
    }));
    const {trainingConfig: _, ...rest} = json;
    return {...rest, modelTopology, weightsManifest};
  } finally {
    unfilled.dispose();
  }
}

async function build(modelTopology: JsonObject, source: string): Promise<UnfilledModel> {
  try {
    return await UnfilledModel.build(modelTopology);
  } catch (cause) {
    const said = cause instanceof Error ? cause.message : String(cause);
    throw new ModelError(
      'malformed-topology',
      `${source} is a Keras 3 file that TensorFlow.js cannot build (${said}): ${KERAS3_REMEDY}`,
      {source},
      {cause},
    );
  }
}

/** TensorFlow.js finds weights by their names. */
function checkNames(names: readonly string[], source: string): void {
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice === undefined) return;
  throw new ModelError(
    'duplicate-weight',
    `${source} is a Keras 3 file in which two weights are "${twice}" to TensorFlow.js (two layers of one name in nested ` +
      'models, or several cells in one layer): give them different names, or one cell a layer, and convert it again',
    {source, name: twice},
  );
}
