/** @file What TensorFlow.js gives a custom layer: shapes when a graph is built, arguments when it runs. */
import type * as tf from '@tensorflow/tfjs';

/** What a layer's `call` is given beside its inputs. */
export type CallArgs = Parameters<tf.layers.Layer['call']>[1];

/** The shapes of a layer's inputs as a list. */
export function shapesOf(inputShape: tf.Shape | tf.Shape[]): tf.Shape[] {
  return (Array.isArray(inputShape[0]) ? inputShape : [inputShape]) as tf.Shape[];
}
