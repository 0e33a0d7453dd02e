/**
 * @file The Dense layer that masks its input by magnitude before it multiplies, by a kernel in float32, INT8 or INT4.
 * Threshold, target and quantized weights are part of the layer, so that a sparsified or compressed model saves, loads
 * and serves like any other.
 */
import * as tf from '@tensorflow/tfjs';
import {fusedActivationOf} from '../kernels/activations.js';
import {computeSparsifiedMatMul} from '../kernels/sparsified-matmul.js';
import {
  Dense,
  makeLayerVariable,
  onlyTensor,
  ownNonTrainableWeights,
  type DenseLayer,
  type DenseLayerArgs,
  type LayerVariable,
  type Layer,
} from '../tfjs.js';
import {withActivations} from './activation-config.js';
import {DENSE_KERNEL, addCompressedWeight} from './compressed-layers.js';
import {asCompressed, compressionOf, type Compression, type CompressionArgs} from './compressed-weight.js';

export type SparsifyingDenseArgs = DenseLayerArgs &
  CompressionArgs & {
    /** Share of the inputs that calibration is to mask, in [0, 1]; kept for reports, not used to compute. */
    targetSparsity?: number | null;
    /** Share of the calibration data that the threshold masks, in [0, 1]; kept for reports, not used to compute. */
    reachedSparsity?: number | null;
  };

/** The weight that holds the threshold; its name ends like this after the layer's own prefix. */
const THRESHOLD = 'threshold';

/**
 * Dense whose inputs count as 0 where `|x| <= threshold`: `activation(masked(x) * kernel + bias)`.
 *
 * Input float32 [..., K], output float32 [..., units]. The threshold is a scalar layer weight, -Infinity until it
 * is calibrated, which keeps everything: a compressed layer that is not sparsified is one of those. Computes with one
 * operation on inputs of any rank.
 *
 * @example
 * const layer = new SparsifyingDense({units: 8, activation: 'relu', targetSparsity: 0.5});
 */
export class SparsifyingDense extends Dense {
  static override readonly className: string = 'SparsifyingDense';

  /** The threshold's variable, a float32 scalar; null until the layer is built. */
  declare threshold: LayerVariable | null;
  /** Share of the inputs that calibration was asked to mask, in [0, 1], or null. */
  declare targetSparsity: number | null;
  /** Share of the calibration data that the threshold masks, in [0, 1]; null if it is not known. */
  declare reachedSparsity: number | null;
  /** How the kernel is quantized, or null if it is float32. */
  declare compression: Compression | null;

  constructor(args: SparsifyingDenseArgs) {
    super(args);
    this.threshold ??= null;
    this.targetSparsity = args.targetSparsity ?? null;
    this.reachedSparsity = args.reachedSparsity ?? null;
    this.compression = compressionOf(args);
  }

  protected override addWeight(...args: Parameters<Layer['addWeight']>): LayerVariable {
    const add = super.addWeight.bind(this);
    return this.compression === null
      ? add(...args)
      : addCompressedWeight(add, [DENSE_KERNEL], this.compression)(...args);
  }

  override build(inputShape: tf.Shape | tf.Shape[]): void {
    super.build(inputShape);
    this.threshold ??= this.addWeight(
      THRESHOLD,
      [],
      'float32',
      tf.initializers.constant({value: -Infinity}),
      undefined,
      false,
    );
  }

  override call(inputs: tf.Tensor | tf.Tensor[], kwargs: Parameters<DenseLayer['call']>[1]): tf.Tensor {
    this.invokeCallHook(inputs, kwargs);
    return this.outputAt(onlyTensor(inputs), this.threshold!.read());
  }

  /**
   * The layer's output if its threshold were another one.
   *
   * @param x float32 [..., K].
   * @param threshold Scalar; -Infinity gives what the dense layer would.
   */
  outputAt(x: tf.Tensor, threshold: tf.Tensor): tf.Tensor {
    return tf.tidy(() => {
      const fused = fusedActivationOf(this.activation);
      const output = computeSparsifiedMatMul(
        x,
        asCompressed(this.kernel)?.matrix() ?? (this.kernel!.read() as tf.Tensor2D),
        threshold,
        {bias: this.bias?.read() as tf.Tensor1D | undefined, activation: fused ?? 'linear'},
      );
      return fused === undefined ? this.activation!.apply(output) : output;
    });
  }

  override getConfig(): tf.serialization.ConfigDict {
    const {targetSparsity, reachedSparsity} = this;
    const config = withActivations(this, {...super.getConfig(), targetSparsity, reachedSparsity});
    return {...config, ...this.compression} as tf.serialization.ConfigDict;
  }

  /**
   * Sets the threshold: `|x| <= threshold` is masked. -Infinity keeps everything.
   *
   * @param reached Share of the calibration data that it masks, in [0, 1], if it is known.
   */
  setThreshold(threshold: number, reached: number | null = null): void {
    this.reachedSparsity = reached;
    tf.tidy(() => void this.threshold!.write(tf.scalar(threshold)));
  }
}

/** Whether a layer is one of ours. */
export function isSparsifyingDense(layer: object): layer is SparsifyingDense {
  return layer instanceof SparsifyingDense;
}

/** Whether a layer is a plain Dense: exactly that class, since a subclass may compute something else. */
export function isPlainDense(layer: object): layer is DenseLayer {
  return Object.getPrototypeOf(layer) === Dense.prototype;
}

/**
 * Turns a built Dense layer into a `SparsifyingDense` in place: its name, weights, calls and everything that refers
 * to it stay. The threshold starts at -Infinity, so that the layer computes what it did before.
 */
export function toSparsifyingDense(layer: DenseLayer): SparsifyingDense {
  const sparsifying = Object.setPrototypeOf(layer, SparsifyingDense.prototype) as SparsifyingDense;
  // The prefix of the kernel's name, since wrappers and nested models name an inner layer's weights differently.
  const prefix = layer.kernel!.originalName.replace(/kernel$/, '');
  const initial = tf.scalar(-Infinity);
  const threshold = makeLayerVariable(initial, prefix + THRESHOLD, false);
  initial.dispose();
  sparsifying.threshold = threshold;
  sparsifying.targetSparsity = null;
  sparsifying.reachedSparsity = null;
  sparsifying.compression = null;
  ownNonTrainableWeights(sparsifying).push(threshold);
  return sparsifying;
}

/** Undoes `toSparsifyingDense`: the layer is the Dense that it was, and the threshold's memory is free. Its kernel must be float32. */
export function toPlainDense(layer: SparsifyingDense): DenseLayer {
  const weights = ownNonTrainableWeights(layer);
  weights.splice(weights.indexOf(layer.threshold!), 1);
  layer.threshold!.dispose();
  const fields = layer as Partial<
    Pick<SparsifyingDense, 'threshold' | 'targetSparsity' | 'reachedSparsity' | 'compression'>
  >;
  delete fields.threshold;
  delete fields.targetSparsity;
  delete fields.reachedSparsity;
  delete fields.compression;
  return Object.setPrototypeOf(layer, Dense.prototype) as DenseLayer;
}
