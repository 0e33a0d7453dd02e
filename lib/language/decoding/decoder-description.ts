/**
 * @file Where the native decoder finds a model's weights, and in which order the op that prepares them takes them
 * (lib/kernels/native/shared/decoder-description.h).
 */
import {asCompressed} from '../../layers/compressed-weight.js';
import {asInt4} from '../../layers/int4-weight.js';
import {asInt8} from '../../layers/int8-weight.js';
import {isPlainDense, isSparsifyingDense} from '../../layers/sparsifying-dense.js';
import {walkModel} from '../../model/walk.js';
import {asContainer, rawValue, type DenseLayer, type Layer, type LayerVariable} from '../../tfjs.js';
import type * as tf from '@tensorflow/tfjs';
import type {GateActivation, LlamaConfig} from '../config/llama-config.js';
import {EMBEDDING_NAME, FINAL_NORM_NAME} from '../graph/build-model.js';
import {RMSNorm} from '../graph/layers/rms-norm.js';
import {RotaryAttention} from '../graph/layers/rotary-attention.js';
import {rotaryAttentionFactor, rotaryFrequencies} from '../graph/layers/rotary.js';
import {HEAD_NAME, TiedEmbedding} from '../graph/layers/tied-embedding.js';

/** A Dense layer that the decoder computes. */
interface PlacedDense {
  readonly path: string;
  readonly layer: DenseLayer;
}

export interface NativeLayout {
  /** Sizes and flags, but for the last of them: whether weights are kept in bfloat16. */
  readonly numbers: readonly number[];
  /** Radians a position, [headSize / 2]. */
  readonly frequencies: Float32Array;
  /** In the order of their thresholds and counts. */
  readonly denses: readonly PlacedDense[];
  /** float32, in the order of the op; null where this model has none, or a packed matrix. */
  readonly weights: readonly (LayerVariable | null)[];
  /**
   * The numbers of the packed matrices, int32, in the same order; of one in INT4 its values, scale, zero point and minimum, null where
   * it has none.
   */
  readonly words: readonly (LayerVariable | null)[];
}

const ACTIVATIONS: readonly GateActivation[] = ['silu', 'gelu', 'gelu_tanh'];

/** Stock, and as `compressWeights` makes it. */
const EMBEDDING_CLASSES: readonly string[] = ['Embedding', 'Int8Embedding', 'Int4Embedding'];

/** Raised inside this file for a model that the decoder cannot hold. */
class Unfit extends Error {}

/**
 * Finds a model's weights.
 *
 * @returns Null if a layer is missing, or is another than `buildModel` makes: then only the graph says what the model
 *   computes.
 */
export function nativeLayout(model: tf.LayersModel, config: LlamaConfig): NativeLayout | null {
  try {
    return layoutOf(model, config);
  } catch (error) {
    if (error instanceof Unfit) return null;
    throw error;
  }
}

function layoutOf(model: tf.LayersModel, config: LlamaConfig): NativeLayout {
  const {layers} = walkModel(asContainer(model));
  const byPath = new Map(layers.map(({path, layer}) => [path, layer]));
  const weights: (LayerVariable | null)[] = [];
  const words: (LayerVariable | null)[] = [];
  const denses: PlacedDense[] = [];
  /** A matrix and what follows it; of one in INT8, its scale and zero point come last, of one in INT4 a null. */
  const matrix = (weight: LayerVariable, ...others: (LayerVariable | null)[]): void => {
    const int4 = asInt4(weight)?.variables;
    if (int4 !== undefined) {
      weights.push(null, ...others, null);
      words.push(int4.values, int4.scale, int4.zeroPoint, int4.minimum);
      return;
    }
    const int8 = asInt8(weight)?.variables;
    weights.push(int8 === undefined ? weight : null, ...others);
    if (int8 === undefined) return;
    weights.push(int8.scale, int8.zeroPoint);
    words.push(int8.values);
  };
  const dense = (path: string): void => {
    const layer = linearDense(byPath.get(path), path);
    denses.push({path, layer});
    matrix(layer.kernel!, layer.bias);
  };
  const norm = (path: string): void => {
    const layer = byPath.get(path);
    if (!(layer instanceof RMSNorm) || layer.epsilon !== config.normEpsilon) throw new Unfit(path);
    weights.push(layer.weight);
  };

  const table = embedding(byPath.get(EMBEDDING_NAME), config);
  if (table === null) weights.push(null);
  else matrix(table);
  norm(FINAL_NORM_NAME);
  for (let i = 0; i < config.layers; i++) {
    const path = `model.layers.${i}`;
    norm(`${path}.input_layernorm`);
    for (const name of config.fusedProjections ? ['qkv'] : ['q', 'k', 'v'])
      dense(`${path}.self_attn.${name}_proj`);
    const attention = byPath.get(`${path}.self_attn`);
    if (!(attention instanceof RotaryAttention)) throw new Unfit(path);
    weights.push(attention.queryNorm, attention.keyNorm);
    dense(`${path}.self_attn.o_proj`);
    norm(`${path}.post_attention_layernorm`);
    for (const name of feedForwardNames(config)) dense(`${path}.${name}`);
  }
  dense(HEAD_NAME);
  return {
    numbers: numbersOf(config),
    frequencies: rotaryFrequencies(config),
    denses,
    weights,
    words,
  };
}

/** The Dense layers of a feed-forward part, in the order of the op. */
function feedForwardNames({experts, fusedProjections}: LlamaConfig): string[] {
  if (experts === null)
    return fusedProjections
      ? ['mlp.gate_up_proj', 'mlp.down_proj']
      : ['mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj'];
  const names = ['block_sparse_moe/gate'];
  for (let e = 0; e < experts.count; e++)
    names.push(...['w1', 'w3', 'w2'].map((name) => `block_sparse_moe/experts.${e}.${name}`));
  return names;
}

function numbersOf(config: LlamaConfig): number[] {
  return [
    config.hiddenSize,
    config.layers,
    config.heads,
    config.keyHeads,
    config.headSize,
    config.vocabularySize,
    config.intermediateSize,
    config.slidingWindow ?? 0,
    ACTIVATIONS.indexOf(config.activation),
    config.normEpsilon,
    config.embeddingScale,
    rotaryAttentionFactor(config.ropeScaling),
    Number(config.tiedEmbedding),
    Number(config.fusedProjections),
    config.experts?.count ?? 0,
    config.experts?.perToken ?? 0,
  ];
}

/** The layer at `path`, if it multiplies and adds a bias and no more. */
function linearDense(layer: Layer | undefined, path: string): DenseLayer {
  if (layer === undefined || !(isPlainDense(layer) || isSparsifyingDense(layer))) throw new Unfit(path);
  const activation = layer.activation?.getClassName() ?? 'linear';
  const {kernel} = layer;
  const isKnown =
    kernel !== null &&
    (asCompressed(kernel) === undefined
      ? isFloat32(kernel)
      : asInt8(kernel) !== undefined || asInt4(kernel) !== undefined);
  if (!isKnown || activation !== 'linear') throw new Unfit(path);
  return layer;
}

function isFloat32(weight: LayerVariable): boolean {
  return rawValue(weight).dtype === 'float32';
}

/** The table [vocabulary, hidden], or null if it is the head's kernel. */
function embedding(layer: Layer | undefined, {tiedEmbedding}: LlamaConfig): LayerVariable | null {
  if (layer instanceof TiedEmbedding && tiedEmbedding) return null;
  const {embeddings} = (layer ?? {}) as {embeddings?: LayerVariable};
  if (tiedEmbedding || embeddings === undefined || !EMBEDDING_CLASSES.includes(layer!.getClassName()))
    throw new Unfit(EMBEDDING_NAME);
  return embeddings;
}
