/** @file A model whose weights all have one value, so that a mixture of two saves would show. */

import * as tf from '@tensorflow/tfjs';

/** A model of 200,000 weights and a way to set them all. */
export function constantModel(): {model: tf.LayersModel; fill: (value: number) => void} {
  const units = 400;
  const kernelInitializer = 'zeros';
  const model = tf.sequential({
    layers: [
      tf.layers.dense({name: 'first', units, inputShape: [100], kernelInitializer}),
      tf.layers.dense({name: 'second', units, kernelInitializer}),
    ],
  });
  return {
    model,
    fill: (value) => {
      tf.tidy(() => {
        model.setWeights(model.getWeights().map(({shape}) => tf.fill(shape, value)));
      });
    },
  };
}

/** The values that the weights of a model have, each once. */
export function distinctWeights(model: tf.LayersModel): number[] {
  return [...new Set(model.weights.flatMap((weight) => [...new Set(weight.read().dataSync())]))];
}
