/**
 * @file Keras's Normalization layer, which TensorFlow.js does not have: features less their mean, over their standard
 * deviation (keras/src/layers/preprocessing/normalization.py). Its statistics are weights that are loaded; it does
 * not adapt to data.
 */
import * as tf from '@tensorflow/tfjs';

import {onlyTensor} from '../tfjs.js';

/** Name of the class in saved models; Keras's own name is left to others. */
export const NORMALIZATION_CLASS = 'KerasNormalization';

/** Keras's `epsilon()`, the least standard deviation. */
const EPSILON = 1e-7;

/** Arguments as Keras has them. */
export interface KerasNormalizationArgs {
  readonly name?: string;
  /** The axes that have statistics of their own, or null for one mean and variance of all; the last by default. */
  readonly axis?: number | readonly number[] | null;
}

/** The layer; [batch, ...] of any rank to float32 of the same shape. */
export class KerasNormalization extends tf.layers.Layer {
  static readonly className = NORMALIZATION_CLASS;
  private readonly axes: readonly number[];
  private mean!: tf.LayerVariable;
  private variance!: tf.LayerVariable;

  constructor(args: KerasNormalizationArgs) {
    super(args);
    const {axis = -1} = args;
    this.axes = axis === null ? [] : [axis].flat();
    this.supportsMasking = true;
  }

  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const input = inputShape as tf.Shape;
    const shape = this.keptAxes(input.length).map((axis) => input[axis]!);
    this.mean = this.addWeight('mean', shape, 'float32', tf.initializers.zeros(), undefined, false);
    this.variance = this.addWeight('variance', shape, 'float32', tf.initializers.ones(), undefined, false);
    super.build(inputShape);
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return inputShape;
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const x = onlyTensor(inputs).toFloat();
      const kept = this.keptAxes(x.rank);
      const shape = x.shape.map((size, axis) => (kept.includes(axis) ? size : 1));
      const deviation = this.variance.read().sqrt().maximum(EPSILON).reshape(shape);
      return x.sub(this.mean.read().reshape(shape)).div(deviation);
    });
  }

  override getConfig(): tf.serialization.ConfigDict {
    return {...super.getConfig(), axis: [...this.axes]};
  }

  private keptAxes(rank: number): number[] {
    return this.axes.map((axis) => (axis < 0 ? axis + rank : axis)).sort((a, b) => a - b);
  }
}

/** Makes `tf.loadLayersModel` know the layer; again changes nothing. */
export function registerNormalization(): void {
  tf.serialization.registerClass(KerasNormalization);
}
