/** @file A model in a worker process: loaded, warmed up, computing, disposed. */
import * as tf from '@tensorflow/tfjs';
import {isLanguageModel} from '../../language/config/saved-metadata.js';
import {isCheckpoint, languageModelOf, loadLanguageModel} from '../../language/load-language-model.js';
import type {LanguageModel} from '../../language/language-model.js';
import {registerLlamaLayers} from '../../language/graph/layers/register-llama-layers.js';
import {measureSparsity} from '../../eval/measure-sparsity.js';
import {ModelError, SparsifyError} from '../../errors.js';
import {loadLayersModel} from '../../io/model/model-files.js';
import {maskingLayers} from '../../model/dense-layers.js';
import {valuesAs} from '../../tensor-values.js';
import {onlyTensor} from '../../tfjs.js';
import type {ActualSparsity, LoadedInfo, WorkerSettings} from '../messages.js';
import type {TensorInfo, WireTensor} from '../tensors.js';
import {checkIds} from './id-check.js';
import {TextGeneration} from './text-generation.js';
import {batchesAgree, warmUpInputs} from './warm-up.js';

/** Batches between two of which the actual sparsity is not measured again. */
const SPARSITY_INTERVAL_MS = 10_000;

export class WorkerModel {
  private measuredAt = -Infinity;

  private constructor(
    private readonly model: tf.LayersModel,
    private readonly lm: LanguageModel | null,
    /** Null unless it is a language model. */
    readonly generation: TextGeneration | null,
    readonly info: LoadedInfo,
  ) {}

  /**
   * Loads a model and computes with it once.
   *
   * @param path Folder, `model.json`, URL, or a checkpoint of a language model.
   * @throws As `loadLayersModel` and `loadLanguageModel`; {ModelError} `unsupported-dtype`, `warm-up-failed`.
   */
  static async load(path: string, {cacheBytes, maxSequences}: WorkerSettings): Promise<WorkerModel> {
    registerLlamaLayers();
    const {model, lm} = await open(path);
    let generation: TextGeneration | null = null;
    try {
      checkIds(model);
      const signature = {
        inputs: tensorInfos(model.inputs),
        outputs: tensorInfos(model.outputs),
      };
      const canBatch = await warmUp(model, signature.inputs);
      generation = lm === null ? null : new TextGeneration(lm, cacheBytes, maxSequences);
      const isText = lm !== null && lm.tokenizer !== null;
      const sparsified = [...maskingLayers(model)].map(([path, {targetSparsity: target}]) => ({
        path,
        target,
      }));
      const info = {signature, canBatch, isLanguageModel: lm !== null, hasTokenizer: isText, sparsified};
      const loaded = new WorkerModel(model, lm, generation, info);
      if (generation !== null) {
        const request = {prompt: [0], maxTokens: 1, temperature: 0, topP: 1, stop: []};
        await generation.generate(request, () => {}, new AbortController().signal);
      }
      return loaded;
    } catch (cause) {
      generation?.dispose();
      if (lm === null) model.dispose();
      else lm.dispose();
      throw cause;
    }
  }

  /**
   * The outputs for a batch, in the signature's order.
   *
   * @throws {SparsifyError} `bad-id`; `cannot-compute` if it computes other inputs than these; else what TensorFlow.js throws.
   */
  async predict(inputs: readonly WireTensor[]): Promise<WireTensor[]> {
    const outputs = this.compute(inputs);
    try {
      return await Promise.all(
        outputs.map(async (output, i): Promise<WireTensor> => {
          const {dtype} = this.info.signature.outputs[i];
          return {dtype, shape: output.shape, values: valuesAs(dtype, await output.data())};
        }),
      );
    } finally {
      tf.dispose(outputs);
    }
  }

  /**
   * How sparse the layers' inputs are: of a language model over all that it generated, else of this batch, which is
   * computed again for it; null most of the time, so that it costs little.
   */
  async sparsity(inputs: readonly WireTensor[] | null): Promise<ActualSparsity | null> {
    if (this.generation !== null) return inputs === null ? this.generation.sparsity() : null;
    const now = performance.now();
    if (inputs === null || now - this.measuredAt < SPARSITY_INTERVAL_MS) return null;
    this.measuredAt = now;
    if (maskingLayers(this.model).size === 0) return null;
    const batch = inputs.map(toTensor);
    try {
      const layers = await measureSparsity(this.model, [batch.length === 1 ? batch[0] : batch]);
      return {mean: layers.reduce((sum, {actual}) => sum + actual, 0) / layers.length, layers};
    } finally {
      tf.dispose(batch);
    }
  }

  /** As TensorFlow's own codes tell a wrong argument from a failure; the other backends have none. */
  private compute(inputs: readonly WireTensor[]): tf.Tensor[] {
    try {
      return compute(this.model, inputs);
    } catch (cause) {
      if (cause instanceof SparsifyError || isOutOfMemory(cause) || !this.isSound()) throw cause;
      const said = cause instanceof Error ? cause.message : String(cause);
      throw new SparsifyError(
        'cannot-compute',
        `the model cannot compute with these inputs: ${said}`,
        {},
        {cause},
      );
    }
  }

  /** Whether it still computes what it did when it was loaded, so that an error is that of the inputs. */
  private isSound(): boolean {
    const {inputs} = this.info.signature;
    try {
      tf.dispose(compute(this.model, warmUpInputs(inputs, 1)));
      return true;
    } catch {
      return hasOpenSizes(inputs);
    }
  }

  dispose(): void {
    this.generation?.dispose();
    if (this.lm === null) this.model.dispose();
    else this.lm.dispose();
  }
}

async function open(path: string): Promise<{model: tf.LayersModel; lm: LanguageModel | null}> {
  if (await isCheckpoint(path)) {
    const lm = await loadLanguageModel(path);
    return {model: lm.model, lm};
  }
  const model = await loadLayersModel(path);
  try {
    return {model, lm: isLanguageModel(model) ? languageModelOf(model) : null};
  } catch (cause) {
    model.dispose();
    throw cause;
  }
}

/** Runs the model once; returns whether batches may be joined. */
async function warmUp(model: tf.LayersModel, inputs: readonly TensorInfo[]): Promise<boolean> {
  try {
    return await batchesAgree(inputs, (batch) => compute(model, batch));
  } catch (cause) {
    // Where a size is not known beforehand, what was tried may be what the model cannot take.
    if (hasOpenSizes(inputs)) return false;
    const said = cause instanceof Error ? cause.message : String(cause);
    const shapes = warmUpInputs(inputs, 1).map(({shape}) => `[${shape}]`);
    throw new ModelError(
      'warm-up-failed',
      `the model cannot compute with inputs of shape ${shapes.join(', ')}: ${said}`,
      {},
      {cause},
    );
  }
}

/** Whether there are sizes beside the batch's that are not known beforehand. */
function hasOpenSizes(inputs: readonly TensorInfo[]): boolean {
  return inputs.some(({shape}) => shape.slice(1).includes(null));
}

/** V8's only sign of it, or TensorFlow's RESOURCE_EXHAUSTED. A size below 0 is a RangeError too, and not of this kind. */
function isOutOfMemory(cause: unknown): boolean {
  const text = cause instanceof Error ? cause.message : '';
  return /^Array buffer allocation failed|^Invalid TF_Status: 8\b/.test(text);
}

function compute(model: tf.LayersModel, inputs: readonly WireTensor[]): tf.Tensor[] {
  return tf.tidy(() => {
    const tensors = inputs.map(toTensor);
    return [model.predictOnBatch(tensors.length === 1 ? onlyTensor(tensors) : tensors)].flat();
  });
}

function toTensor({dtype, shape, values}: WireTensor): tf.Tensor {
  return tf.tensor(values, [...shape], dtype);
}

/** Named after the layers, as the model's own `inputNames` are; a layer's second output is `NAME_1`. */
function tensorInfos(tensors: readonly tf.SymbolicTensor[]): TensorInfo[] {
  const layers = tensors.map(({sourceLayer}) => sourceLayer.name);
  return tensors.map(({dtype, shape}, i) => {
    const before = layers.slice(0, i).filter((name) => name === layers[i]).length;
    const name = before === 0 ? layers[i] : `${layers[i]}_${before}`;
    if (dtype !== 'float32' && dtype !== 'int32' && dtype !== 'bool') {
      throw new ModelError(
        'unsupported-dtype',
        `"${name}" of the model is ${dtype}; float32, int32 and bool can be served`,
        {name, dtype},
      );
    }
    return {name, dtype, shape};
  });
}
