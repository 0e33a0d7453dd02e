/**
 * @file The activations that `SparsifiedMatMul` can fuse, as scalar functions, and their derivatives as tensor
 * expressions. Definitions follow the layers of TensorFlow.js of the same name (`silu` is its `swish`).
 */
import * as tf from '@tensorflow/tfjs';

export type FusedActivation = 'linear' | 'relu' | 'silu' | 'gelu' | 'tanh' | 'sigmoid';

export const FUSED_ACTIVATIONS: readonly FusedActivation[] = [
  'linear',
  'relu',
  'silu',
  'gelu',
  'tanh',
  'sigmoid',
];

/** Class names of TensorFlow.js activations by the fused activation that computes the same. */
const BY_CLASS_NAME: Readonly<Record<string, FusedActivation>> = {
  linear: 'linear',
  relu: 'relu',
  swish: 'silu',
  gelu: 'gelu',
  tanh: 'tanh',
  sigmoid: 'sigmoid',
};

/**
 * The fused activation that computes what a layer's activation does, none being linear; undefined if it must be applied
 * apart. An activation that is a layer is never fused, whatever it is called: it has settings of its own.
 */
export function fusedActivationOf(activation: {getClassName(): string} | null): FusedActivation | undefined {
  if (activation === null) return 'linear';
  const className = activation.getClassName();
  const isFused = Object.hasOwn(BY_CLASS_NAME, className) && !(activation instanceof tf.layers.Layer);
  return isFused ? BY_CLASS_NAME[className] : undefined;
}

/** Scalar functions, in float64. */
export const ACTIVATE: Readonly<Record<FusedActivation, (z: number) => number>> = {
  linear: (z) => z,
  relu: (z) => (z < 0 ? 0 : z),
  silu: (z) => z / (1 + Math.exp(-z)),
  gelu: (z) => 0.5 * z * (1 + erf(z * Math.SQRT1_2)),
  tanh: Math.tanh,
  sigmoid: (z) => 1 / (1 + Math.exp(-z)),
};

/** The activation as stock operations: `z` any shape, float32, to the same shape. */
export function activate(z: tf.Tensor, activation: FusedActivation): tf.Tensor {
  switch (activation) {
    case 'linear':
      return z;
    case 'relu':
      return tf.relu(z);
    case 'silu':
      return tf.mul(z, tf.sigmoid(z));
    case 'gelu':
      return tf.mul(tf.mul(z, 0.5), tf.add(tf.erf(tf.mul(z, Math.SQRT1_2)), 1));
    case 'tanh':
      return tf.tanh(z);
    case 'sigmoid':
      return tf.sigmoid(z);
  }
}

/** `dy` times the derivative of the activation at the pre-activation `z`; both of one shape. */
export function activationGradient(dy: tf.Tensor, z: tf.Tensor, activation: FusedActivation): tf.Tensor {
  switch (activation) {
    case 'linear':
      return dy;
    case 'relu':
      return tf.mul(dy, tf.step(z));
    case 'silu': {
      const s = tf.sigmoid(z);
      return tf.mul(dy, tf.mul(s, tf.add(tf.mul(z, tf.sub(1, s)), 1)));
    }
    case 'gelu': {
      const cdf = tf.mul(tf.add(tf.erf(tf.mul(z, Math.SQRT1_2)), 1), 0.5);
      const pdf = tf.mul(tf.exp(tf.mul(tf.square(z), -0.5)), 1 / Math.sqrt(2 * Math.PI));
      return tf.mul(dy, tf.add(cdf, tf.mul(z, pdf)));
    }
    case 'tanh':
      return tf.mul(dy, tf.sub(1, tf.square(tf.tanh(z))));
    case 'sigmoid': {
      const s = tf.sigmoid(z);
      return tf.mul(dy, tf.mul(s, tf.sub(1, s)));
    }
  }
}

/**
 * The error function, by Abramowitz and Stegun's formula 7.1.26 (absolute error below 1.5e-7, under float32's
 * rounding at 1); the cpu backend of TensorFlow.js uses the same.
 */
function erf(x: number): number {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const polynomial =
    t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - polynomial * Math.exp(-x * x));
}
