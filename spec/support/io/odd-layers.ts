/** @file Layers and an initializer that show what loading does to weights. */
import * as tf from '@tensorflow/tfjs';

import {onlyTensor} from '../../../lib/tfjs.js';

/** The shape and dtype of the weight of an `Odd`. */
export interface OddArgs {
  readonly shape: number[];
  readonly dtype: 'float32' | 'int32' | 'bool';
  readonly name?: string;
}

/** Passes its input on; has one weight of any shape and dtype. */
export class Odd extends tf.layers.Layer {
  static className = 'SpecOdd';
  constructor(private readonly args: OddArgs) {
    super({name: args.name});
  }

  override build(): void {
    this.addWeight('odd', this.args.shape, this.args.dtype, tf.initializers.zeros(), undefined, false);
    this.built = true;
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return onlyTensor(inputs).clone();
  }

  override getConfig(): tf.serialization.ConfigDict {
    // The base's `dtype` is that of the input.
    return {...super.getConfig(), shape: this.args.shape, dtype: this.args.dtype};
  }
}

/** Adds a weight of ones [n] that it lists, times one of fives [n] that it does not. */
export class HalfListed extends tf.layers.Layer {
  static className = 'SpecHalfListed';
  hidden!: tf.LayerVariable;

  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const shape = [(inputShape as tf.Shape)[1] ?? 1];
    this.addWeight('listed', shape, 'float32', tf.initializers.ones());
    this.hidden = this.addWeight('hidden', shape, 'float32', tf.initializers.constant({value: 5}));
    this._trainableWeights = this._trainableWeights.filter((weight) => weight !== this.hidden);
    this.built = true;
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return onlyTensor(inputs).add(this.hidden.read());
  }
}

let runs = 0;

/** How often the initializers that `noteRuns` gave have run. */
export function runsOfNoted(): number {
  return runs;
}

/** An initializer that counts how often initializers of its class run. */
export function noteRuns(): InstanceType<typeof Noted> {
  return new Noted();
}

const Initializer = Object.getPrototypeOf(tf.initializers.zeros().constructor) as new () => ReturnType<
  typeof tf.initializers.zeros
>;

class Noted extends Initializer {
  static className = 'SpecNoted';
  override apply(shape: tf.Shape): tf.Tensor {
    runs++;
    return tf.ones(shape as number[]);
  }
}
tf.serialization.registerClass(Noted as unknown as Parameters<typeof tf.serialization.registerClass>[0]);
