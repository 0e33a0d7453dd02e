/**
 * @file INT4 kernels rounded by what their layers read: all batches of a data set go through the model's graph layer by layer, and
 * each kernel is quantized where its layer is reached. The model stays as it is, so that every layer reads what it reads in
 * float32.
 */
import * as tf from '@tensorflow/tfjs';
import {nextTurn} from '../event-loop.js';
import {advance, inputsOf, lastUseIn, readBatches, type HeldBatch} from '../calibration/graph-walk.js';
import type {Batches} from '../dataset.js';
import {maskActivations} from '../kernels/mask.js';
import {checkFinite, type CompressedWeight, type Int4Config} from '../layers/compressed-weight.js';
import {isMasking} from '../model/dense-layers.js';
import type {PlacedWeight} from '../model/compressible.js';
import {runSteps, stepsOf, type GraphStep} from '../model/graph-steps.js';
import {quantizedWeight} from '../model/replace-weights.js';
import {floatsOf} from '../tensor-values.js';
import {onlyTensor, type DenseLayer, type LayerVariable} from '../tfjs.js';
import {InputMoments, type InputFactor} from './input-moments.js';
import {quantizeByFactor} from './gptq.js';

/** A Dense kernel that is to be INT4. */
export interface Int4Kernel {
  readonly placed: PlacedWeight;
  readonly config: Int4Config & {readonly kind: 'asym' | 'sym'};
}

export interface DataAwareOptions {
  /** Called with every weight once it is made; owns it. */
  readonly onWeight: (variable: LayerVariable, weight: CompressedWeight) => void;
  /** Stops between two layers. */
  readonly signal?: AbortSignal;
}

/** What several kernels read alike. */
interface Reading {
  readonly moments: InputMoments;
  factor: InputFactor | null;
  /** Ids of the tensors that were added. */
  readonly added: Set<number>;
  /** Kernels that are not quantized yet. */
  left: number;
}

/** A kernel with all layers that have it, and where in the graph it is read. */
interface Target extends Int4Kernel {
  readonly layers: readonly PlacedWeight[];
  /** Indices of the steps that read it, in order. */
  readonly steps: readonly number[];
  readonly reading: Reading;
}

/**
 * Quantizes kernels on a data set. A kernel that several calls read is quantized by what all of them read; one that the model's outputs do not
 * need gets no weight.
 *
 * @param kernels Of float32, of Dense layers of the model; layers that share a variable have an entry each.
 * @throws {DatasetError} `empty`, `not-finite`, or for a bad item; {ModelError} `not-finite` or `int4-overflow` for weights; the signal's
 *   reason if it is aborted. What `onWeight` was given stays with the caller.
 */
export async function quantizeOnData(
  model: tf.LayersModel,
  kernels: readonly Int4Kernel[],
  dataset: Batches,
  {onWeight, signal}: DataAwareOptions,
): Promise<void> {
  const all = stepsOf(model);
  const targets = targetsIn(all, kernels);
  const end = Math.max(-1, ...targets.map(({steps}) => steps[steps.length - 1]));
  const steps = all.slice(0, end + 1);
  const lastUse = lastUseIn(steps);
  const batches: HeldBatch[] = [];
  try {
    await readBatches(model, dataset, {signal}, lastUse, batches, 'rounding with data needs');
    for (const [i, step] of steps.entries()) {
      const here = targets.filter((target) => target.steps.includes(i));
      observe(step, here, batches);
      for (const target of here) {
        if (target.steps[target.steps.length - 1] !== i) continue;
        onWeight(target.placed.variable, await quantize(target));
        await nextTurn(); // so that timers and signals get their turn
        signal?.throwIfAborted();
      }
      for (const batch of batches) advance(step, i, batch, lastUse);
      signal?.throwIfAborted();
    }
  } finally {
    for (const {values} of batches) tf.dispose([...values.values()]);
    for (const {reading} of targets) reading.moments.dispose();
  }
}

/** The kernels that steps read, each once; those that read the same tensors share a reading. */
function targetsIn(steps: readonly GraphStep[], kernels: readonly Int4Kernel[]): Target[] {
  const byVariable = new Map<LayerVariable, Int4Kernel[]>();
  for (const kernel of kernels) {
    const {variable} = kernel.placed;
    byVariable.set(variable, [...(byVariable.get(variable) ?? []), kernel]);
  }
  const readings = new Map<string, Reading>();
  return [...byVariable.values()].flatMap((alike): Target[] => {
    const layers = alike.map(({placed}) => placed);
    const ancestors = new Set(layers.map(({ancestor}) => ancestor));
    const own = steps.flatMap(({layer}, i) => (ancestors.has(layer) ? [i] : []));
    if (own.length === 0) return [];
    const isPlain = layers.every((placed) => isExposed(placed) && !isMasking(placed.layer as DenseLayer));
    const key = isPlain ? own.map((i) => steps[i].inputs[0].id).join() : layers[0].path;
    const reading = readings.get(key) ?? {
      moments: new InputMoments(),
      factor: null,
      added: new Set(),
      left: 0,
    };
    readings.set(key, reading);
    reading.left++;
    return [{...alike[0], layers, steps: own, reading}];
  });
}

/** Whether the graph calls the layer itself: others are within a nested model or another layer. */
function isExposed({layer, ancestor}: PlacedWeight): boolean {
  return layer === ancestor;
}

/** Adds what the kernels of a step read. */
function observe(step: GraphStep, targets: readonly Target[], batches: readonly HeldBatch[]): void {
  const placed = targets.flatMap(({layers, reading}) => layers.map((layer) => ({layer, reading})));
  const here = placed.filter(({layer}) => layer.ancestor === step.layer);
  for (const {layer, reading} of here.filter((each) => isExposed(each.layer))) {
    const [input] = step.inputs;
    if (reading.added.has(input.id)) continue;
    reading.added.add(input.id);
    for (const {values} of batches) addMasked(reading, layer, values.get(input)!);
  }
  const inner = here.filter((each) => !isExposed(each.layer));
  if (inner.length === 0) return;
  try {
    for (const {layer, reading} of inner) {
      layer.layer.setCallHook((inputs) => addMasked(reading, layer, onlyTensor(inputs)));
    }
    for (const {values} of batches) tf.dispose(runSteps(inputsOf(step, values), step.outputs));
  } finally {
    for (const {layer} of inner) layer.layer.clearCallHook();
  }
}

/** Adds what a layer multiplies by its kernel. */
function addMasked({moments}: Reading, {layer}: PlacedWeight, input: tf.Tensor): void {
  const dense = layer as DenseLayer;
  if (!isMasking(dense)) return moments.add(input);
  const masked = maskActivations(input, dense.threshold!.read());
  moments.add(masked);
  masked.dispose();
}

async function quantize({placed, config, reading}: Target): Promise<CompressedWeight> {
  const {path, variable} = placed;
  const [rows, columns] = variable.shape as [number, number];
  const weights = floatsOf(await variable.read().data());
  checkFinite(`${path}/${variable.originalName}`, weights, 'INT4');
  reading.factor ??= await reading.moments.factor(path);
  reading.left--;
  const {kind, groupSize} = config;
  const shape = {rows, columns, groupSize};
  const matrix = await quantizeByFactor(weights, shape, `int4_${kind}`, reading.factor);
  if (reading.left === 0) {
    reading.factor = null;
    reading.moments.dispose();
  }
  return quantizedWeight(placed, matrix);
}
