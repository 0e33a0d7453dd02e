/**
 * @file The digits model: a multilayer perceptron, 784-512-512-10. Small enough to train in minutes on a CPU
 * and wide enough that half of its hidden activations can go. The pixels are standardized one by one and the
 * hidden units are swish: most pixels are 0 and most relu units too, which leaves nothing for a threshold to choose.
 */

import * as tf from '@tensorflow/tfjs';

import {CLASS_COUNT, IMAGE_PIXELS} from './data.js';

const HIDDEN_UNITS = 512;
/** Added to a pixel's variance: pixels that are hardly ever ink must not grow large when they are. */
const PIXEL_VARIANCE_FLOOR = 0.02;

/** TensorFlow.js has this activation; its types leave it out. */
const SWISH = 'swish' as 'relu';

/** How to build the model; the defaults are those of the committed one, ready to predict. */
export interface DigitsModelOptions {
  /** Share of the inputs of the second and the last layer that training drops, in [0, 1). */
  readonly dropout?: number;
  /** Seed of the initial weights and of the dropout. */
  readonly seed?: number;
}

/**
 * Builds the untrained model.
 *
 * @returns A `tf.Sequential` from float32 [n, 784] to probabilities float32 [n, 10], owned by the caller. Its
 *     Dense layers are `hidden_1`, `hidden_2` and `digits`.
 */
export function buildDigitsModel({dropout = 0, seed = 0}: DigitsModelOptions = {}): tf.Sequential {
  const hidden = (index: number) =>
    tf.layers.dense({
      name: `hidden_${index}`,
      units: HIDDEN_UNITS,
      activation: SWISH,
      kernelInitializer: tf.initializers.heNormal({seed: seed + index}),
    });
  const drop = (index: number) =>
    dropout > 0
      ? [tf.layers.dropout({name: `dropout_${index}`, rate: dropout, seed: seed + 10 + index})]
      : [];
  return tf.sequential({
    name: 'digits',
    layers: [
      tf.layers.batchNormalization({
        name: 'pixels',
        inputShape: [IMAGE_PIXELS],
        epsilon: PIXEL_VARIANCE_FLOOR,
      }),
      hidden(1),
      ...drop(1),
      hidden(2),
      ...drop(2),
      tf.layers.dense({
        name: 'digits',
        units: CLASS_COUNT,
        activation: 'softmax',
        kernelInitializer: tf.initializers.glorotUniform({seed: seed + 3}),
      }),
    ],
  });
}
