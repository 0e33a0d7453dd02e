/** @file The bytes of a model's weights in the order in which they are saved, made with one part of it in memory at a time. */
import type * as tf from '@tensorflow/tfjs';
import type {Progress} from '../../calibration/model-batches.js';
import {tensorBytes} from '../../io/model/weight-tensors.js';
import {walkModel} from '../../model/walk.js';
import {asContainer, type LayerVariable} from '../../tfjs.js';
import type {Checkpoint} from './checkpoint.js';
import {EMBEDDING_NAME, buildParts} from '../graph/build-model.js';
import {loadPlanned, write} from './load-weights.js';
import {disposePart, type ModelOutline} from './model-outline.js';
import type {PartsCalibration} from './parts-calibration.js';
import type {PlannedWeight} from './weight-plan.js';

export interface StreamedWeightsOptions {
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/**
 * Reads, compresses and calibrates part after part.
 *
 * @param outline Gets vectors and thresholds as they are known; all of them by the end.
 * @param plan Of the checkpoint.
 * @param calibration Runs on each part up to the last that has a target; null without targets.
 * @returns All bytes in the order of `streamOrder(outline.model)`.
 */
export async function* streamedWeights(
  outline: ModelOutline,
  checkpoint: Checkpoint,
  plan: readonly PlannedWeight[],
  calibration: PartsCalibration | null,
  {onProgress, signal}: StreamedWeightsOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const queue = new WeightQueue(outline.model);
  const vectors = plan.filter(({shape}) => shape.length === 1);
  await loadPlanned(
    outline.model,
    checkpoint,
    vectors,
    {signal},
    {
      store: (variable, values, isTransposed) => {
        write(variable, values, isTransposed);
        queue.add([variable]);
      },
    },
  );
  const {layers, tiedEmbedding} = checkpoint.config;
  let done = 0;
  for (const part of buildParts(checkpoint.config)) {
    try {
      const runs = calibration?.isLeft === true;
      // An embedding without weights of its own is filled with the head's, which are written with the head.
      const isLent = done === 0 && tiedEmbedding;
      if (runs || !isLent) {
        const held = new Set(walkModel(asContainer(part)).layers.map(({path}) => path));
        const own = plan.filter(({path}) => held.has(path));
        await loadPlanned(part, checkpoint, own, {signal}, outline.storeIn(part));
        if (!isLent) outline.sparsify(part);
      }
      if (runs) await calibration.run(part);
      if (!isLent) {
        queue.add(outline.takeThresholds(part));
        queue.add(part.weights.filter(({shape}) => shape.length > 0));
      }
      yield* queue.drain(signal);
    } finally {
      disposePart(part);
    }
    done++;
    onProgress?.({done, total: layers + 2});
  }
  queue.end();
}

/**
 * The order in which a model's weights can be written part by part: that of `model.weights`, in which they are saved
 * otherwise, unless the matrices of the parts are mixed there, as where only some are INT8 (those come behind the others).
 */
export function streamOrder(model: tf.LayersModel): LayerVariable[] {
  const {weights} = model;
  const parts = weights.filter(isOfPart).map(partOf);
  const inOrder = parts.every((part, i) => i === 0 || parts[i - 1] <= part);
  return inOrder ? weights : [...weights].sort((a, b) => partOf(a) - partOf(b));
}

/** Whether a weight's value is there only as long as its part is: not those of vectors and thresholds, kept outside. */
function isOfPart({originalName, shape}: LayerVariable): boolean {
  return shape.length > 1 || /_(scale|zero_point|minimum)$/.test(originalName);
}

/** Which part a weight is of, in the order of the parts. */
function partOf({originalName}: LayerVariable): number {
  if (originalName.startsWith(`${EMBEDDING_NAME}/`)) return -1;
  return Number(/^model\.layers\.(\d+)\./.exec(originalName)?.[1] ?? Infinity);
}

/** Weights in their order, each passed on once its value and those of all before it are there. */
class WeightQueue {
  private readonly names: readonly string[];
  private readonly ready = new Map<string, LayerVariable>();
  private next = 0;

  constructor(model: tf.LayersModel) {
    this.names = streamOrder(model).map(({originalName}) => originalName);
  }

  /** Takes variables with their values; those that were passed on already are ignored. */
  add(variables: Iterable<LayerVariable>): void {
    for (const variable of variables) this.ready.set(variable.originalName, variable);
  }

  async *drain(signal: AbortSignal | undefined): AsyncGenerator<Uint8Array, void, undefined> {
    for (; this.next < this.names.length; this.next++) {
      const variable = this.ready.get(this.names[this.next]);
      if (variable === undefined) return;
      for await (const piece of tensorBytes(variable.read())) {
        signal?.throwIfAborted();
        yield piece;
      }
    }
  }

  /** Checks that all were passed on. */
  end(): void {
    if (this.next === this.names.length) return;
    throw new Error(`the weight "${this.names[this.next]}" was not filled before later ones`);
  }
}
