/** @file Filling a model from a checkpoint, one tensor in memory at a time. */
import * as tf from '@tensorflow/tfjs';
import {ModelError, nearest} from '../../errors.js';
import {walkModel} from '../../model/walk.js';
import {CALLBACK, SIGNAL, checkOptions, type OptionRules} from '../../option-rules.js';
import type {Int4Values} from '../../quantization/int4.js';
import {sizeOf} from '../../tensor-values.js';
import {asContainer, type LayerVariable} from '../../tfjs.js';
import type {Checkpoint} from './checkpoint.js';
import {transpose} from './transpose.js';
import {weightPlan, type PlannedWeight} from './weight-plan.js';

/** Where the values of a model's variables go. */
export interface WeightStore {
  /** `isTransposed`: they are those of a kernel [inputs, units] as the checkpoint has them, [units, inputs]. */
  store(variable: LayerVariable, values: Float32Array, isTransposed: boolean): void;
  /** Whether a variable's values are to be read in 4 bits, for `storeInt4`; none is by default. */
  keepsInt4?(variable: LayerVariable): boolean;
  storeInt4?(variable: LayerVariable, matrix: Int4Values): void;
}

/** How far loading is. */
export interface WeightsProgress {
  /** The tensor that was read last. */
  readonly tensor: string;
  /** Values read so far, and in all. */
  readonly done: number;
  readonly total: number;
}

export interface LoadWeightsOptions {
  /** Called after every tensor. */
  readonly onProgress?: (progress: WeightsProgress) => void;
  /** Stops between two tensors: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

export const LOAD_WEIGHTS_RULES: OptionRules<LoadWeightsOptions> = {onProgress: CALLBACK, signal: SIGNAL};

/** Tensors that some published files hold although nothing is computed with them. */
const UNUSED = /\.rotary_emb\.inv_freq$|^rope_freqs\.weight$/;

/**
 * Fills a model with the weights of a checkpoint. All names and shapes are checked before anything is read; if a read
 * fails or the signal stops it, the model is filled in part: dispose it.
 *
 * @param model Of `buildModel(checkpoint.config)`, sparsified or not.
 * @throws {ModelError} `missing-tensor`, `wrong-shape`, `unexpected-tensor` with the tensor's name, `wrong-model` if the
 *   model is another's; what `checkpoint.read` throws.
 */
export async function loadWeights(
  model: tf.LayersModel,
  checkpoint: Checkpoint,
  options: LoadWeightsOptions = {},
): Promise<void> {
  checkOptions('loadWeights', options, LOAD_WEIGHTS_RULES);
  await loadPlanned(model, checkpoint, checkedPlan(checkpoint), options);
}

/**
 * Fills some of a model's weights.
 *
 * @param model The model or a part of it that has all weights of `plan`.
 * @param plan Some of `checkedPlan(checkpoint)`.
 * @param store Where a weight's values go; by default into its variable.
 * @throws As `loadWeights`.
 */
export async function loadPlanned(
  model: tf.LayersModel,
  checkpoint: Checkpoint,
  weights: readonly PlannedWeight[],
  {onProgress, signal}: LoadWeightsOptions = {},
  weightStore: WeightStore = {store: write},
): Promise<void> {
  const plan = inFileOrder(weights, checkpoint);
  const variables = variablesOf(model, plan);
  const total = plan.reduce((sum, {shape}) => sum + sizeOf(shape), 0);
  let done = 0;
  for (const [i, planned] of plan.entries()) {
    signal?.throwIfAborted();
    done += sizeOf(planned.shape);
    if (weightStore.keepsInt4?.(variables[i]) === true) {
      weightStore.storeInt4!(variables[i], await checkpoint.readInt4!(planned.tensor));
      onProgress?.({tensor: planned.tensor, done, total});
      continue;
    }
    const values = await checkpoint.read(planned.tensor);
    if (values.length !== sizeOf(planned.shape)) {
      throw new ModelError(
        'wrong-shape',
        `tensor "${planned.tensor}" has ${values.length} values; it must have ${sizeOf(planned.shape)} for its shape ` +
          `[${planned.shape}]: the file is damaged, get it again`,
        {tensor: planned.tensor, got: values.length, expected: planned.shape},
      );
    }
    if (isNorm(planned)) addTo(values, checkpoint.normOffset);
    weightStore.store(variables[i], values, planned.weight === 'kernel');
    onProgress?.({tensor: planned.tensor, done, total});
  }
}

/**
 * The plan of a checkpoint's configuration, held against the tensors that it has.
 *
 * @throws {ModelError} `missing-tensor`, `wrong-shape`, `unexpected-tensor`.
 */
export function checkedPlan({config, tensors}: Checkpoint): PlannedWeight[] {
  const tiedToHead = config.tiedEmbedding && !tensors.has('model.embed_tokens.weight');
  const plan = weightPlan(config).map((planned) =>
    // Either name may hold the weights that both share.
    tiedToHead && planned.path === 'lm_head' ? {...planned, tensor: 'lm_head.weight'} : planned,
  );
  for (const {tensor, shape} of plan) {
    const found = tensors.get(tensor);
    if (found === undefined) throw missingTensor(tensor, tensors, config.tiedEmbedding);
    if (found.shape.length !== shape.length || found.shape.some((size, axis) => size !== shape[axis])) {
      throw new ModelError(
        'wrong-shape',
        `tensor "${tensor}" has shape [${found.shape}]; the configuration says [${shape}]: use the config.json and the ` +
          'weights of one checkpoint',
        {tensor, got: found.shape, expected: shape},
      );
    }
  }
  const planned = new Set(plan.map(({tensor}) => tensor));
  if (config.tiedEmbedding) planned.add('lm_head.weight').add('model.embed_tokens.weight');
  for (const name of tensors.keys()) {
    if (planned.has(name) || UNUSED.test(name)) continue;
    throw new ModelError(
      'unexpected-tensor',
      `the checkpoint has a tensor "${name}" that a ${config.architecture} model of its configuration does not use: ` +
        'leaving it out would change the results; use the config.json and the weights of one checkpoint',
      {tensor: name, architecture: config.architecture},
    );
  }
  return plan;
}

function missingTensor(tensor: string, tensors: Checkpoint['tensors'], tied: boolean): ModelError {
  const near = nearest(tensor, tensors.keys());
  const hint =
    tensor === 'lm_head.weight' && !tied
      ? '; if the head shares the embedding, config.json must say "tie_word_embeddings": true'
      : near.length > 0
        ? `; the nearest it has: ${near.join(', ')}`
        : '';
  return new ModelError(
    'missing-tensor',
    `the checkpoint of ${tensors.size} tensors has none named "${tensor}": is it complete?${hint}`,
    {tensor, nearest: near},
  );
}

/** As the file has them, so that it is read from start to end. */
function inFileOrder(plan: readonly PlannedWeight[], {tensors}: Checkpoint): PlannedWeight[] {
  const place = new Map([...tensors.keys()].map((name, i) => [name, i]));
  return [...plan].sort((a, b) => place.get(a.tensor)! - place.get(b.tensor)!);
}

/** The model's variables in the order of `plan`, each with the shape that it must have. */
function variablesOf(model: tf.LayersModel, plan: readonly PlannedWeight[]): LayerVariable[] {
  const layers = new Map(walkModel(asContainer(model)).layers.map(({path, layer}) => [path, layer]));
  return plan.map(({path, weight, shape}) => {
    const variable = layers.get(path)?.weights.find(({originalName}) => originalName.endsWith(`/${weight}`));
    const wanted = weight === 'kernel' ? [...shape].reverse() : shape;
    if (variable !== undefined && variable.shape.join() === wanted.join()) return variable;
    throw new ModelError(
      'wrong-model',
      `the model's "${path}" has no weight "${weight}" of shape [${wanted}]: build it with buildModel(checkpoint.config)`,
      {path, weight, expected: wanted, got: variable?.shape ?? null},
    );
  });
}

function isNorm({weight}: PlannedWeight): boolean {
  return weight === 'weight' || weight === 'q_norm' || weight === 'k_norm';
}

function addTo(values: Float32Array, offset: number): void {
  if (offset !== 0) for (let i = 0; i < values.length; i++) values[i] += offset;
}

/** Writes values into their variable. */
export function write(variable: LayerVariable, values: Float32Array, isTransposed: boolean): void {
  const shape = variable.shape as number[];
  const laidOut = isTransposed ? transpose(values, shape[1], shape[0]) : values;
  const tensor = tf.tensor(laidOut, shape, 'float32');
  variable.write(tensor);
  tensor.dispose();
  handOver(variable);
}

/**
 * Makes the backend take the values now rather than when the model first runs, so that the array can be collected
 * before the next is read: tfjs-node copies it at its first use, and would hold every weight twice.
 */
function handOver(variable: LayerVariable): void {
  const value = variable.read();
  tf.slice(
    value,
    value.shape.map(() => 0),
    value.shape.map(() => 1),
  ).dispose();
}
