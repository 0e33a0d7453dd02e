/** @file Multiplication by a constant: gemma scales its embeddings by the square root of their size. */
import * as tf from '@tensorflow/tfjs';
import {onlyTensor} from '../../../tfjs.js';
import {type CallArgs, shapesOf} from './call.js';

export interface ScaleArgs {
  readonly name?: string;
  readonly factor: number;
}

/** `x * factor`, float32, any shape. */
export class Scale extends tf.layers.Layer {
  static readonly className = 'SparsifyLlamaScale';

  readonly factor: number;

  constructor(args: ScaleArgs) {
    super(args);
    this.factor = args.factor;
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    return shapesOf(inputShape)[0];
  }

  override call(inputs: tf.Tensor | tf.Tensor[], kwargs: CallArgs): tf.Tensor {
    this.invokeCallHook(inputs, kwargs);
    return tf.mul(onlyTensor(inputs), this.factor);
  }

  override getConfig(): tf.serialization.ConfigDict {
    return {...super.getConfig(), factor: this.factor};
  }
}
