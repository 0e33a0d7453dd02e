/**
 * @file Token embeddings that are the transposed weights of the model's head. The layer has no weight of its own, so
 * that the matrix exists once, in memory and in files, and the head stays a Dense that a scope can name.
 */
import * as tf from '@tensorflow/tfjs';
import {ModelError} from '../../../errors.js';
import {asCompressed} from '../../../layers/compressed-weight.js';
import {onlyTensor, type DenseLayer, type GraphCall, type Layer} from '../../../tfjs.js';
import type {CallArgs} from './call.js';

/** Name of the Dense layer [H, V] that gives the logits. */
export const HEAD_NAME = 'lm_head';

export interface TiedEmbeddingArgs {
  readonly name?: string;
  /** Size of an embedding. */
  readonly hiddenSize: number;
}

/** Where a layer's head was found. Not a field of the layer: the head would then count as a layer inside it. */
const heads = new WeakMap<Layer, DenseLayer>();

/**
 * Looks up columns of the kernel [H, V] of the Dense named `lm_head` further down in the same graph.
 *
 * Input int32 [B, T], each in [0, V); output float32 [B, T, H].
 */
export class TiedEmbedding extends tf.layers.Layer {
  static readonly className = 'SparsifyLlamaTiedEmbedding';

  readonly hiddenSize: number;

  constructor(args: TiedEmbeddingArgs) {
    super(args);
    this.hiddenSize = args.hiddenSize;
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    return [...(inputShape as tf.Shape), this.hiddenSize];
  }

  /** @throws {ModelError} `no-head` if the layer's graph has no Dense named `lm_head`. */
  override call(inputs: tf.Tensor | tf.Tensor[], kwargs: CallArgs): tf.Tensor {
    return tf.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const ids = tf.cast(onlyTensor(inputs), 'int32');
      const {kernel} = this.head(); // [H, V]
      const flat = tf.reshape<tf.Rank.R1>(ids, [ids.size]);
      const rows = asCompressed(kernel)?.lookUp(flat) ?? columns(kernel!.read() as tf.Tensor2D, flat); // [B * T, H]
      return tf.reshape(rows, [...ids.shape, this.hiddenSize]);
    });
  }

  override getConfig(): tf.serialization.ConfigDict {
    return {...super.getConfig(), hiddenSize: this.hiddenSize};
  }

  private head(): DenseLayer {
    const known = heads.get(this);
    if (known !== undefined) return known;
    const found = layersAfter(this).find(({name}) => name === HEAD_NAME) as DenseLayer | undefined;
    if (found === undefined) {
      throw new ModelError(
        'no-head',
        `"${this.name}" takes its weights from the Dense layer "${HEAD_NAME}", which its model does not have: build ` +
          'the model with buildModel, or load it whole',
        {layer: this.name},
      );
    }
    heads.set(this, found);
    return found;
  }
}

/** Columns of a kernel [H, V], one a row: [n, H], or [H, 1] for one, which is the same in memory. */
function columns(kernel: tf.Tensor2D, ids: tf.Tensor1D): tf.Tensor {
  const gathered = tf.gather(kernel, ids, 1); // [H, n]
  return ids.size === 1 ? gathered : tf.transpose(gathered);
}

/** All layers that `layer`'s output reaches. */
function layersAfter(layer: Layer): Layer[] {
  const seen = new Set<Layer>([layer]);
  for (const {outboundNodes} of seen as Set<{outboundNodes: unknown}>) {
    // The set grows while it is walked.
    for (const {outboundLayer} of outboundNodes as GraphCall[]) seen.add(outboundLayer);
  }
  return [...seen];
}
