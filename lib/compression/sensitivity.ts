/**
 * @file How much a model would lose if a layer's weights became INT4, as NNCF's mixed precision criteria say it
 * (nncf/quantization/algorithms/weight_compression/mixed_precision.py): the error of the layer's INT8 weights, alone or times a measure of what
 * the layer reads. The larger the INT8 error, the less sensitive a layer counts as; that is NNCF's.
 */
import type * as tf from '@tensorflow/tfjs';
import {ActivationRecorder, type Observation} from '../calibration/recorder.js';
import {runPass} from '../calibration/recording-pass.js';
import type {WalkOptions} from '../calibration/model-batches.js';
import type {Batches} from '../dataset.js';
import {denseLayers} from '../model/dense-layers.js';
import {int8Error} from '../quantization/int8-error.js';
import {floatsOf} from '../tensor-values.js';
import type {SensitivityMetric} from './compression-options.js';
import type {Candidate} from './plan.js';

/** Items of a data set that are read, as NNCF's `subset_size`. */
const MAX_ITEMS = 128;

/** What keeps a score finite where INT8 has no error: float32's epsilon. */
const EPSILON = 2 ** -23;

/** A layer's input, [..., T, K]. */
type Input = Pick<Observation, 'values' | 'shape'>;

/** What each metric makes of an input. */
const MEASURES: Readonly<
  Record<Exclude<SensitivityMetric, 'weight_quantization_error'>, (input: Input) => number>
> = {
  hessian_input_activation: ({values}) => (2 * values.reduce((sum, x) => sum + x * x, 0)) / values.length,
  mean_activation_variance: (input) => mean(channelVariances(input)),
  max_activation_variance: (input) =>
    channelVariances(input).reduce((most, variance) => Math.max(most, variance), 0),
  mean_activation_magnitude: (input) => mean(channelMagnitudes(input)),
};

/**
 * The candidates' scores.
 *
 * @param dataset What the metrics but `weight_quantization_error` measure; its first 128 items are read.
 * @throws {DatasetError} for a bad item; the signal's reason if aborted.
 */
export async function sensitivityScores(
  model: tf.LayersModel,
  candidates: readonly Candidate[],
  metric: SensitivityMetric,
  dataset: Batches | undefined,
  options: WalkOptions,
): Promise<number[]> {
  const inputs =
    metric === 'weight_quantization_error'
      ? null
      : await measureInputs(model, candidates, metric, dataset!, options);
  const scores: number[] = [];
  for (const {placed} of candidates) {
    options.signal?.throwIfAborted();
    const {path, variable, weight} = placed;
    if (inputs !== null && weight.layout === 'rows') {
      scores.push(0); // an embedding has no input that could be measured
      continue;
    }
    const [rows, columns] = variable.shape as [number, number];
    const values = floatsOf(await variable.read().data());
    const channels = weight.layout === 'rows' ? 'rows' : 'columns';
    const {worst, norm} = int8Error(values, {rows, columns, channels});
    const ofWeight = metric === 'hessian_input_activation' ? norm : 1 / (worst + EPSILON);
    scores.push(ofWeight * (inputs?.get(path) ?? 1));
  }
  return scores;
}

/** The mean of a measure over the items, by the layers' paths. */
async function measureInputs(
  model: tf.LayersModel,
  candidates: readonly Candidate[],
  metric: keyof typeof MEASURES,
  dataset: Batches,
  options: WalkOptions,
): Promise<Map<string, number>> {
  const wanted = new Set(candidates.map(({placed}) => placed.path));
  const layers = new Map(
    denseLayers(model).flatMap(({path, layer}) => (wanted.has(path) ? [[path, layer] as const] : [])),
  );
  if (layers.size === 0) return new Map();
  const sums = new Map<string, {sum: number; count: number}>();
  const recorder = new ActivationRecorder(model, layers, false);
  const observe = (observation: Observation) => {
    if (!observation.isNew) return;
    const measured = MEASURES[metric](observation);
    for (const path of observation.stream.paths) {
      const {sum, count} = sums.get(path) ?? {sum: 0, count: 0};
      sums.set(path, {sum: sum + measured, count: count + 1});
    }
  };
  await runPass(model, firstItems(dataset), {recorder: () => recorder, observe}, options);
  return new Map([...sums].map(([path, {sum, count}]) => [path, sum / count]));
}

/** The items that are read. */
function firstItems(dataset: Batches): Batches {
  return {
    length: dataset.length === null ? null : Math.min(dataset.length, MAX_ITEMS),
    async *getInferenceData() {
      let read = 0;
      for await (const item of dataset.getInferenceData()) {
        yield item;
        if (++read === MAX_ITEMS) return;
      }
    },
  };
}

/** The population variance of each channel along the last but one axis of an input, for each index of the axes before it. */
function channelVariances(input: Input): Float64Array {
  const {steps, channels, blocks} = extentOf(input);
  const variances = new Float64Array(blocks * channels);
  for (let block = 0; block < blocks; block++) {
    for (let channel = 0; channel < channels; channel++) {
      const first = block * steps * channels + channel;
      let sum = 0;
      for (let step = 0; step < steps; step++) sum += input.values[first + step * channels];
      let squares = 0;
      for (let step = 0; step < steps; step++)
        squares += (input.values[first + step * channels] - sum / steps) ** 2;
      variances[block * channels + channel] = squares / steps;
    }
  }
  return variances;
}

/** The largest magnitude of each channel along the last but one axis, likewise. */
function channelMagnitudes({values, shape}: Input): Float64Array {
  const {steps, channels, blocks} = extentOf({values, shape});
  const magnitudes = new Float64Array(blocks * channels);
  for (let i = 0; i < values.length; i++) {
    const at = Math.floor(i / (steps * channels)) * channels + (i % channels);
    magnitudes[at] = Math.max(magnitudes[at], Math.abs(values[i]));
  }
  return magnitudes;
}

function extentOf({values, shape}: Input) {
  const [steps, channels] = shape.slice(-2);
  return {steps, channels, blocks: values.length / (steps * channels)};
}

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
