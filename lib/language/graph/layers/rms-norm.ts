/** @file Root mean square normalisation (Zhang and Sennrich 2019, arXiv:1910.07467), as Llama uses it. */
import * as tf from '@tensorflow/tfjs';
import {onlyTensor, type LayerVariable} from '../../../tfjs.js';
import {type CallArgs, shapesOf} from './call.js';

export interface RMSNormArgs {
  readonly name?: string;
  /** Added to the mean square, above 0. */
  readonly epsilon: number;
}

/**
 * `x / sqrt(mean(x * x) + epsilon) * weight` over the last dimension.
 *
 * Input and output float32 [..., H]; weight `weight` [H], 1 at first.
 */
export class RMSNorm extends tf.layers.Layer {
  static readonly className = 'SparsifyLlamaRMSNorm';

  readonly epsilon: number;
  weight: LayerVariable | null = null;

  constructor(args: RMSNormArgs) {
    super(args);
    this.epsilon = args.epsilon;
  }

  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const [shape] = shapesOf(inputShape);
    this.weight = this.addWeight('weight', [shape[shape.length - 1]], 'float32', tf.initializers.ones());
    this.built = true;
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    return shapesOf(inputShape)[0];
  }

  override call(inputs: tf.Tensor | tf.Tensor[], kwargs: CallArgs): tf.Tensor {
    this.invokeCallHook(inputs, kwargs);
    return rmsNorm(onlyTensor(inputs), this.weight!.read(), this.epsilon);
  }

  override getConfig(): tf.serialization.ConfigDict {
    return {...super.getConfig(), epsilon: this.epsilon};
  }
}

/** @returns Of the shape of `x`; the caller disposes it. */
export function rmsNorm(x: tf.Tensor, weight: tf.Tensor, epsilon: number): tf.Tensor {
  return tf.tidy(() => {
    const scale = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), epsilon)); // [..., 1]
    return tf.mul(tf.mul(x, scale), weight);
  });
}
