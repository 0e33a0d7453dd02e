/** @file The bytes of a model's weights, to hold two models against each other. */
import type * as tf from '@tensorflow/tfjs';

/** By weight, in the model's order. */
export function weightBytes(model: tf.LayersModel): number[][] {
  return model.weights.map((weight) => [...new Uint8Array(weight.read().dataSync().slice().buffer)]);
}
