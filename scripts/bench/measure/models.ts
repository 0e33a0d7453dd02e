/** @file Models and data with seeded random values, for benchmarks. */
import * as tf from '@tensorflow/tfjs';
import {tensorflowNormal} from './tensorflow-ops.js';

export interface ResidualMlpOptions {
  readonly blocks: number;
  /** Of the residual stream. */
  readonly width: number;
  /** Of the blocks' inner layers. */
  readonly hidden: number;
}

/**
 * A model of the shape of a transformer's MLPs: blocks of layer normalization, gate and up projections, their
 * product, a down projection, and a residual add. Three Dense layers a block, without bias.
 */
export function residualMlp({blocks, width, hidden}: ResidualMlpOptions): tf.LayersModel {
  const x = tf.input({shape: [width], name: 'x'});
  let stream = x;
  for (let i = 0; i < blocks; i++) {
    const dense = (name: string, units: number, activation?: 'swish') =>
      tf.layers.dense({
        name: `blocks.${i}.mlp.${name}`,
        units,
        activation: activation,
        useBias: false,
        kernelInitializer: tf.initializers.varianceScaling({
          scale: 1,
          mode: 'fanIn',
          distribution: 'normal',
          seed: i + 1,
        }),
      });
    const apply = (layer: tf.layers.Layer, ...inputs: tf.SymbolicTensor[]) =>
      layer.apply(inputs.length === 1 ? inputs[0] : inputs) as tf.SymbolicTensor;
    const normed = apply(tf.layers.layerNormalization({name: `blocks.${i}.norm`}), stream);
    const product = apply(
      tf.layers.multiply({name: `blocks.${i}.product`}),
      apply(dense('gate_proj', hidden, 'swish'), normed),
      apply(dense('up_proj', hidden), normed),
    );
    stream = apply(
      tf.layers.add({name: `blocks.${i}.add`}),
      stream,
      apply(dense('down_proj', width), product),
    );
  }
  return tf.model({inputs: x, outputs: stream});
}

export interface MlpOptions {
  readonly layers: number;
  /** Of the input and of every layer. */
  readonly width: number;
  /** Of the kernels' normal values; by default such that activations keep their magnitude from layer to layer. */
  readonly stddev?: number;
}

/** Dense layers of one width, with bias and swish. */
export function mlp({layers, width, stddev = 1.7 / Math.sqrt(width)}: MlpOptions): tf.LayersModel {
  const model = tf.sequential();
  for (let i = 0; i < layers; i++) {
    model.add(
      tf.layers.dense({
        units: width,
        inputShape: [width],
        activation: 'swish',
        kernelInitializer: normalInitializer(stddev, i + 1),
      }),
    );
  }
  return model;
}

/** On backend tensorflow quicker than tf.initializers.randomNormal, and without a copy in JavaScript's memory. */
function normalInitializer(stddev: number, seed: number): ReturnType<typeof tf.initializers.zeros> {
  const initializer = tf.initializers.zeros();
  initializer.apply = (shape) => {
    const size = shape as number[];
    if (tf.getBackend() !== 'tensorflow') return tf.randomNormal(size, 0, stddev, 'float32', seed);
    const values = tensorflowNormal(size, seed);
    if (stddev === 1) return values; // without a second tensor, for who measures memory
    const scaled = tf.mul(values, stddev);
    values.dispose();
    return scaled;
  };
  return initializer;
}

/** Standard normal values. The caller disposes the tensor. */
export function normalValues(shape: [number, number], seed: number): tf.Tensor2D {
  return tf.randomNormal(shape, 0, 1, 'float32', seed + 1);
}
