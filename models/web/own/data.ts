/** @file What thresholds are found on and models are timed on: a visitor's file, or random numbers. */
import * as tf from '@tensorflow/tfjs';
import {Dataset, openDataBlob, randomInputs, type DataSource} from 'tfjs-sparsify';

/** Samples of random numbers. */
const RANDOM_ROWS = 64;
/** Samples of a file in a batch. */
const BATCH_SIZE = 64;

/** A file and what its values are multiplied with; null for random numbers. */
export type ChosenData = {readonly file: File; readonly scale: number} | null;

/** Runs with the data as `sparsifyActivations` takes it. */
export async function withData<Result>(
  model: tf.LayersModel,
  data: ChosenData,
  run: (source: DataSource<unknown>) => Promise<Result>,
): Promise<Result> {
  if (data !== null)
    return run(openDataBlob(data.file, data.file.name, {batchSize: BATCH_SIZE, scale: data.scale}));
  const inputs = randomInputs(model, RANDOM_ROWS);
  try {
    return await run([inputs.length === 1 ? inputs[0] : inputs]);
  } finally {
    tf.dispose(inputs);
  }
}

/** Runs with the inputs of one prediction: the first sample of the data. */
export async function withSample<Result>(
  model: tf.LayersModel,
  data: ChosenData,
  run: (inputs: tf.Tensor[]) => Promise<Result>,
): Promise<Result> {
  const inputs = data === null ? randomInputs(model, 1) : [await firstSample(data)];
  try {
    return await run(inputs);
  } finally {
    tf.dispose(inputs);
  }
}

async function firstSample({file, scale}: NonNullable<ChosenData>): Promise<tf.Tensor> {
  const first = openDataBlob(file, file.name, {batchSize: 1, scale});
  for await (const batch of new Dataset(first, null, {disposeItems: true}).getInferenceData()) {
    return tf.clone(batch as tf.Tensor);
  }
  throw new Error(`${file.name} holds no items`);
}
