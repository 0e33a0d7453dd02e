/** @file How sparse the inputs of a sparsified model's layers really are, on data of the caller's choice. */
import type * as tf from '@tensorflow/tfjs';
import {ActivationRecorder, type Stream} from '../calibration/recorder.js';
import {checkRunOptions} from '../calibration/calibration-option-rules.js';
import {runPass, type RunOptions} from '../calibration/recording-pass.js';
import {toBatches, type Batches, type DataSource} from '../dataset.js';
import {ModelError} from '../errors.js';
import {checkModel, maskingLayers} from '../model/dense-layers.js';

/** Target and measured sparsity of one layer. */
export interface LayerSparsity {
  readonly path: string;
  /** What calibration was asked for, in [0, 1]; null if it was not. */
  readonly target: number | null;
  /** Share of the layer's inputs that its threshold masked, in [0, 1]. */
  readonly actual: number;
}

/**
 * Runs a data set through a sparsified model and counts what each threshold masks.
 *
 * @param dataset Items as for `sparsifyActivations`; use data that calibration never saw.
 * @throws {ModelError} `not-sparsified`; {DatasetError} for a bad item.
 * @example
 * console.table(await measureSparsity(sparse, new Dataset(heldOut)));
 */
export async function measureSparsity(
  model: tf.LayersModel,
  dataset: Batches | DataSource<unknown>,
  options: RunOptions = {},
): Promise<LayerSparsity[]> {
  checkRunOptions('measureSparsity', options);
  const layers = maskingLayers(checkModel(model));
  if (layers.size === 0) {
    throw new ModelError(
      'not-sparsified',
      'the model has no sparsified layer to measure; sparsify it first with sparsifyActivations',
    );
  }
  const paths = [...layers.keys()];
  const values = paths.map((path) => layers.get(path)!.threshold!.read().dataSync()[0]);
  const thresholds = new Map(paths.map((path, i) => [path, values[i]]));
  const counts = new Map(paths.map((path) => [path, {masked: 0, total: 0}]));
  const recorder = new ActivationRecorder(model, layers, false);
  await runPass(
    model,
    toBatches(dataset),
    {
      recorder: () => recorder,
      observe: ({stream, values}) => {
        for (const [threshold, paths] of pathsByThreshold(stream, thresholds)) {
          const masked = countMasked(values, threshold);
          for (const path of paths) {
            counts.get(path)!.masked += masked;
            counts.get(path)!.total += values.length;
          }
        }
      },
    },
    options,
  );
  return paths.map((path) => {
    const {masked, total} = counts.get(path)!;
    return {path, target: layers.get(path)!.targetSparsity, actual: total === 0 ? 0 : masked / total};
  });
}

/** Layers that read one stream often share a threshold too: count once for all of them. */
function pathsByThreshold(stream: Stream, thresholds: ReadonlyMap<string, number>): Map<number, string[]> {
  const groups = new Map<number, string[]>();
  for (const path of stream.paths) {
    const threshold = thresholds.get(path)!;
    groups.set(threshold, [...(groups.get(threshold) ?? []), path]);
  }
  return groups;
}

function countMasked(values: Float32Array, threshold: number): number {
  let masked = 0;
  for (let i = 0; i < values.length; i++) masked += Math.abs(values[i]) <= threshold ? 1 : 0;
  return masked;
}
