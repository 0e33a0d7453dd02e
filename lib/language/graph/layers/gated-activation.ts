/** @file The gate of a feed-forward part: SwiGLU and its relatives (Shazeer 2020, arXiv:2002.05202). */
import * as tf from '@tensorflow/tfjs';
import type {GateActivation} from '../../config/llama-config.js';
import {type CallArgs, shapesOf} from './call.js';

/** By their number in a layer's configuration, where TensorFlow.js would mangle names. */
const ACTIVATIONS: readonly GateActivation[] = ['silu', 'gelu', 'gelu_tanh'];

export interface GatedActivationArgs {
  readonly name?: string;
  /** Name of the activation, or its number as `getConfig` gives it. */
  readonly activation: GateActivation | number;
}

/**
 * `activation(gate) * up`.
 *
 * Inputs [gate, up], each float32 [..., N], or one [..., 2 * N] with gate first; output [..., N].
 */
export class GatedActivation extends tf.layers.Layer {
  static readonly className = 'SparsifyLlamaGatedActivation';

  readonly activation: GateActivation;

  constructor(args: GatedActivationArgs) {
    super(args);
    this.activation = activationOf(args.activation);
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    const shapes = shapesOf(inputShape);
    const width = shapes[0][shapes[0].length - 1]!;
    return [...shapes[0].slice(0, -1), shapes.length === 1 ? width / 2 : width];
  }

  override call(inputs: tf.Tensor | tf.Tensor[], kwargs: CallArgs): tf.Tensor {
    return tf.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const given = Array.isArray(inputs) ? inputs : [inputs];
      const [gate, up] = given.length === 1 ? tf.split(given[0], 2, -1) : given;
      return gated(gate, up, this.activation);
    });
  }

  override getConfig(): tf.serialization.ConfigDict {
    return {...super.getConfig(), activation: activationNumber(this.activation)};
  }
}

/** `activation(gate) * up`, both float32 of one shape; the caller disposes the result. */
export function gated(gate: tf.Tensor, up: tf.Tensor, activation: GateActivation): tf.Tensor {
  return tf.tidy(() => {
    if (activation === 'silu') return tf.mul(tf.mul(gate, tf.sigmoid(gate)), up);
    const curve =
      activation === 'gelu'
        ? tf.erf(tf.mul(gate, Math.SQRT1_2))
        : tf.tanh(tf.mul(tf.mul(gate, tf.add(tf.mul(tf.square(gate), 0.044715), 1)), Math.sqrt(2 / Math.PI)));
    return tf.mul(tf.mul(tf.mul(gate, tf.add(curve, 1)), 0.5), up);
  });
}

/** The activation that a layer's arguments or saved configuration mean. */
export function activationOf(activation: GateActivation | number): GateActivation {
  return typeof activation === 'number' ? ACTIVATIONS[activation] : activation;
}

/** The number of an activation for a layer's configuration. */
export function activationNumber(activation: GateActivation): number {
  return ACTIVATIONS.indexOf(activation);
}
