/**
 * @file How long each Dense layer of a model takes, dense and at several sparsities, on the shapes that a prediction
 * gives it. The layers run in the order of the model, so that each finds its weights in the caches as little or as
 * much as a prediction would leave them there; whole models run in turns with them, so that a machine whose speed
 * changes does not favour one over the other.
 */
import * as tf from '@tensorflow/tfjs';
import {nextTurn} from '../event-loop.js';
import type {Progress} from '../calibration/model-batches.js';
import {fusedActivationOf} from '../kernels/activations.js';
import {computeSparsifiedMatMul} from '../kernels/sparsified-matmul.js';
import {denseLayers} from '../model/dense-layers.js';
import {Dense, onlyTensor, type DenseLayer} from '../tfjs.js';
import {breakEven, fallingCurve, type TimePoint} from './break-even.js';
import {median} from './latency.js';

/** The times of one Dense layer. */
export interface LayerTimes {
  readonly path: string;
  readonly inputSize: number;
  readonly units: number;
  /** Rows of its input in one call: the batch times any further dimensions. */
  readonly rows: number;
  /** How often one prediction calls it. */
  readonly calls: number;
  /** One call of the stock layer. */
  readonly denseMs: number;
  /** One call of the sparsified layer, in ascending order of sparsity; as measured. */
  readonly times: readonly TimePoint[];
  /** The sparsity from which on the sparsified layer is at least as fast; null if it is so at none that was timed. */
  readonly breakEven: number | null;
}

/** Times of a model's layers and of whole models. */
export interface MeasuredTimes {
  readonly layers: readonly LayerTimes[];
  /** Median milliseconds of one prediction of each model. */
  readonly models: readonly number[];
}

export interface LayerTimesOptions {
  /** Ascending, in [0, 1]. */
  readonly sparsities: readonly number[];
  /** Rounds are added until they took so long; at least 7. 2 seconds by default. */
  readonly seconds?: number;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

const MIN_ROUNDS = 7;
const WARM_UP = 2;
/** Random inputs of a layer that take turns, since a mask that repeats is learnt by the processor. */
const INPUTS = 4;

/** A Dense layer and what one prediction gives it. */
interface Called {
  readonly path: string;
  readonly layer: DenseLayer;
  shape: number[];
  calls: number;
}

/**
 * Times every Dense layer that a prediction of the first model calls, and predictions of all models.
 *
 * @param models The first of stock Dense layers; all with the same inputs.
 * @param inputs Of one prediction, in the order of the model's inputs; left to the caller.
 * @throws The signal's reason if it is aborted.
 */
export async function measureLayerTimes(
  models: readonly tf.LayersModel[],
  inputs: tf.Tensor[],
  {sparsities, seconds = 2, onProgress, signal}: LayerTimesOptions,
): Promise<MeasuredTimes> {
  const called = calledLayers(models[0], inputs);
  const xs = called.map(({shape}, i) =>
    // Uniform in [-1, 1): the share s of the values is at most s in magnitude.
    Array.from({length: INPUTS}, (_, j) => tf.randomUniform(shape, -1, 1, 'float32', 1 + i * INPUTS + j)),
  );
  const thresholds = sparsities.map((sparsity) => tf.scalar(sparsity === 0 ? -Infinity : sparsity));
  const variants: ((layer: DenseLayer, x: tf.Tensor) => tf.Tensor)[] = [
    (layer, x) => Dense.prototype.call.call(layer, x, {}) as tf.Tensor,
    ...thresholds.map((threshold) => (layer: DenseLayer, x: tf.Tensor) => sparse(layer, x, threshold)),
  ];
  const times = called.map(() => variants.map((): number[] => []));
  const modelTimes = models.map((): number[] => []);
  try {
    const start = performance.now();
    const elapsed = () => (performance.now() - start) / 1000;
    for (let round = -WARM_UP; round < MIN_ROUNDS || elapsed() < seconds; round++) {
      for (let turn = 0; turn < variants.length; turn++) {
        const variant = (turn + round + WARM_UP) % variants.length;
        for (const [i, {layer}] of called.entries()) {
          const x = xs[i][(round + WARM_UP) % INPUTS];
          const took = await timed(() => variants[variant](layer, x));
          if (round >= 0) times[i][variant].push(took);
        }
      }
      for (const [i, model] of models.entries()) {
        const took = await timed(() => predict(model, inputs));
        if (round >= 0) modelTimes[i].push(took);
      }
      await nextTurn(); // so that signals get their turn
      signal?.throwIfAborted();
      const done = round + WARM_UP + 1;
      const perRound = elapsed() / done;
      const total = Math.max(WARM_UP + MIN_ROUNDS, Math.ceil(seconds / perRound), done);
      onProgress?.({done, total});
    }
  } finally {
    tf.dispose([xs, thresholds]);
  }
  const layers = called.map(({path, layer, shape, calls}, i) => {
    const [inputSize, units] = layer.kernel!.shape as [number, number];
    const [denseMs, ...sparseMs] = times[i].map(median);
    const points = sparsities.map((sparsity, j) => ({sparsity, ms: sparseMs[j]}));
    return {
      path,
      inputSize,
      units,
      rows: shape.slice(0, -1).reduce((rows, size) => rows * size, 1),
      calls,
      denseMs,
      times: points,
      breakEven: breakEven(fallingCurve(points), denseMs),
    };
  });
  return {layers, models: modelTimes.map(median)};
}

/** Runs the model once and looks at what its Dense layers are given. */
function calledLayers(model: tf.LayersModel, inputs: tf.Tensor[]): Called[] {
  const called: Called[] = denseLayers(model).map(({path, layer}) => ({path, layer, shape: [], calls: 0}));
  try {
    for (const entry of called) {
      entry.layer.setCallHook((input) => {
        entry.shape = onlyTensor(input).shape;
        entry.calls++;
      });
    }
    predict(model, inputs).dispose();
  } finally {
    for (const {layer} of called) layer.clearCallHook();
  }
  return called.filter(({calls}) => calls > 0);
}

/** The first output. */
function predict(model: tf.LayersModel, inputs: tf.Tensor[]): tf.Tensor {
  const [first, ...others] = [model.predictOnBatch(inputs.length === 1 ? inputs[0] : inputs)].flat();
  tf.dispose(others);
  return first;
}

/** What `SparsifyingDense` computes, with another threshold. */
function sparse(layer: DenseLayer, x: tf.Tensor, threshold: tf.Tensor): tf.Tensor {
  return tf.tidy(() => {
    const fused = fusedActivationOf(layer.activation);
    const y = computeSparsifiedMatMul(x, layer.kernel!.read() as tf.Tensor2D, threshold, {
      bias: layer.bias?.read() as tf.Tensor1D | undefined,
      activation: fused ?? 'linear',
    });
    return fused === undefined ? layer.activation!.apply(y) : y;
  });
}

/** Milliseconds of one call. Where kernels run after the call returns, reading the result waits for them. */
async function timed(call: () => tf.Tensor): Promise<number> {
  const start = performance.now();
  const y = call();
  if (tf.getBackend() !== 'tensorflow') await y.data();
  const took = performance.now() - start;
  y.dispose();
  return took;
}
