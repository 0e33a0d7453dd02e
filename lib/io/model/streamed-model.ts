/**
 * @file Loads a LayersModel with its weights one by one: the model is built without values, then each weight goes
 * from the shards into its variable. Memory: the model and one piece of a weight.
 */

import * as tf from '@tensorflow/tfjs';
import type {io} from '@tensorflow/tfjs';

import {ModelError} from '../../errors.js';
import type {Initializer, LayerVariable} from '../../tfjs.js';
import {GroupReader} from './group-reader.js';
import {modelArtifacts} from './model-artifacts.js';
import {buildFailure, matchFailure} from './model-failure.js';
import type {ModelSource} from './model-source.js';
import {UnfilledModel} from './unfilled-model.js';
import {WeightReader} from './weight-tensors.js';

/** The core's type and that of the layers are the same JSON. */
type LayersTrainingConfig = Parameters<tf.LayersModel['loadTrainingConfig']>[0];

/** Puts a weight into its variable; the tensor is its own then. */
export type StoreTensor = (variable: LayerVariable, tensor: tf.Tensor) => void | Promise<void>;

const STREAMED_DTYPES: ReadonlySet<string> = new Set(['float32', 'int32', 'bool']);

/**
 * Loads a model.
 *
 * @param source The model.
 * @param storeIn Where the weights of the built model go, one after the other; by default into their variables.
 * @param start As of `UnfilledModel.build`.
 * @returns The model, equal to what `tf.loadLayersModel` gives; owned by the caller.
 * @throws FileError as `GroupReader` and `ModelSource.openShard`.
 * @throws ModelError `unknown-layer` or `malformed-topology` for a topology that TensorFlow.js cannot build, `weights-mismatch` for
 *     weights whose names, shapes or dtypes are not the model's.
 */
export async function streamedModel(
  source: ModelSource,
  storeIn: (model: tf.LayersModel) => StoreTensor = () => write,
  start?: Initializer,
): Promise<tf.LayersModel> {
  const {json} = source;
  const specs = json.weightsManifest.flatMap(({weights}) => weights);
  const unfilled = await build(source, start);
  const {model} = unfilled;
  const optimizerWeights: {name: string; tensor: tf.Tensor}[] = [];
  try {
    const {trainingConfig, userDefinedMetadata} = json;
    if (trainingConfig) model.loadTrainingConfig(trainingConfig as LayersTrainingConfig);
    if (userDefinedMetadata) model.setUserDefinedMetadata(userDefinedMetadata);
    const variables = match(unfilled, specs, source.name);
    if (!specs.every(({dtype}) => STREAMED_DTYPES.has(dtype))) {
      unfilled.dispose(); // strings have no length beforehand: all at once, as TensorFlow.js does it
      return await tf.loadLayersModel(tf.io.fromMemory(await modelArtifacts(source)));
    }
    for (const spec of specs) checkFits(spec, variables.get(spec.name), source.name);

    const store = storeIn(model);
    await readWeights(source, async (spec, tensor) => {
      const variable = variables.get(spec.name);
      if (variable === undefined) optimizerWeights.push({name: spec.name, tensor});
      else await store(variable, tensor);
    });
    unfilled.initializeOthers(variables.values());
    if (optimizerWeights.length > 0) await model.optimizer?.setWeights(optimizerWeights);
    return model;
  } catch (cause) {
    unfilled.dispose();
    throw cause;
  } finally {
    tf.dispose(optimizerWeights.map(({tensor}) => tensor));
  }
}

function write(variable: LayerVariable, tensor: tf.Tensor): void {
  variable.write(tensor);
  tensor.dispose();
}

async function build({json, name}: ModelSource, start: Initializer | undefined): Promise<UnfilledModel> {
  try {
    return await UnfilledModel.build(json.modelTopology, start);
  } catch (cause) {
    throw buildFailure(name, json.modelTopology, cause);
  }
}

function match(
  unfilled: UnfilledModel,
  specs: readonly io.WeightsManifestEntry[],
  source: string,
): Map<string, LayerVariable> {
  try {
    return unfilled.match(specs.filter(({group}) => group !== 'optimizer'));
  } catch (cause) {
    throw matchFailure(source, cause);
  }
}

/** Hands every weight to `take`, which owns it, in the order of the manifest. */
async function readWeights(
  source: ModelSource,
  take: (spec: io.WeightsManifestEntry, tensor: tf.Tensor) => Promise<void>,
): Promise<void> {
  const weights = new WeightReader();
  for (const group of source.json.weightsManifest) {
    const reader = new GroupReader(source, group);
    try {
      for (const spec of group.weights) await take(spec, await weights.read(reader, spec));
      await reader.end();
    } finally {
      await reader.close();
    }
  }
}

function checkFits(
  {name, shape, dtype}: io.WeightsManifestEntry,
  variable: LayerVariable | undefined,
  source: string,
): void {
  if (variable === undefined) return; // the optimizer's
  const needed = variable.read();
  if (tf.util.arraysEqual(shape, needed.shape) && dtype === needed.dtype) return;
  throw new ModelError(
    'weights-mismatch',
    `the weight "${name}" in the manifest of ${source} is ${dtype} [${shape}], its layer needs ${needed.dtype} ` +
      `[${needed.shape}]: its weights belong to another model`,
    {source, name, found: shape, expected: needed.shape},
  );
}
