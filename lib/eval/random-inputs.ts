/** @file Random inputs for a model, for timing where there are no data. */
import * as tf from '@tensorflow/tfjs';
import {DatasetError} from '../errors.js';
import {walkModel} from '../model/walk.js';
import {asContainer} from '../tfjs.js';

/**
 * Standard normal values for each input of a model.
 *
 * @param rows Size of the batch.
 * @returns Float32 tensors in the order of the model's inputs; the caller disposes them.
 * @throws {DatasetError} `data-needed` if random values are no input: a dimension beside the batch is open, or the
 *   model reads ids.
 */
export function randomInputs(model: tf.LayersModel, rows: number, seed = 1): tf.Tensor[] {
  const ids = readsIds(model);
  const shapes = model.inputs.map(({shape}) => [rows, ...shape.slice(1)]);
  const open = shapes.findIndex((shape) => shape.includes(null));
  if (ids || open !== -1) {
    const what = ids
      ? 'the model reads ids, which random numbers are not'
      : `input "${model.inputNames[open]}" has the shape [${model.inputs[open].shape.map((size) => size ?? 'any').join(', ')}], ` +
        'of which more than the batch is open';
    throw new DatasetError('data-needed', `${what}: give data to time it on`, {inputs: model.inputNames});
  }
  return shapes.map((shape, i) => tf.randomNormal(shape as number[], 0, 1, 'float32', seed + i));
}

/** Whether a model takes whole numbers that mean something else than a magnitude: tokens, say. */
export function readsIds(model: tf.LayersModel): boolean {
  return (
    model.inputs.some(({dtype}) => dtype !== 'float32') ||
    walkModel(asContainer(model)).layers.some(({type}) => type === 'Embedding')
  );
}
