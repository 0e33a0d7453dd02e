/** @file The layers of a Llama-family model as one `tf.LayersModel`, named by their Hugging Face module paths. */
import * as tf from '@tensorflow/tfjs';
import type {LlamaConfig} from '../config/llama-config.js';
import {GatedActivation} from './layers/gated-activation.js';
import {MixtureOfExperts} from './layers/mixture-of-experts.js';
import {registerLlamaLayers} from './layers/register-llama-layers.js';
import {RMSNorm} from './layers/rms-norm.js';
import {RotaryAttention} from './layers/rotary-attention.js';
import {rotaryAttentionFactor, rotaryFrequencies} from './layers/rotary.js';
import {Scale} from './layers/scale.js';
import {HEAD_NAME, TiedEmbedding} from './layers/tied-embedding.js';

type Layer = tf.layers.Layer;
type Symbolic = tf.SymbolicTensor;

/** Names of the layers at the model's ends. */
export const EMBEDDING_NAME = 'model.embed_tokens';
export const FINAL_NORM_NAME = 'model.norm';

/**
 * Builds a model with all weights 0 (norms 1); `loadWeights` fills it.
 *
 * @param config Trusted: made by `parseConfig` or an importer.
 * @returns int32 ids [B, T], each in [0, vocabulary) → float32 logits [B, T, vocabulary]. The caller disposes it. Dense
 *   layers carry the module paths of Hugging Face; those of mixtral's experts lie inside their mixture layer.
 * @example
 * const model = buildModel(checkpoint.config);
 * await loadWeights(model, checkpoint);
 * const logits = model.predict(tf.tensor2d([[1, 2, 3]], [1, 3], 'int32'));
 */
export function buildModel(config: LlamaConfig): tf.LayersModel {
  registerLlamaLayers();
  const ids = tf.input({shape: [null], dtype: 'int32', name: 'input_ids'});
  let hidden = embedded(config, ids); // [B, T, H]
  for (let i = 0; i < config.layers; i++) hidden = block(config, `model.layers.${i}`, hidden);
  return tf.model({name: config.architecture, inputs: ids, outputs: head(config, hidden)});
}

/**
 * Builds the model in parts that can be in memory one at a time: together they have the layers of `buildModel`, with
 * the same names and, once filled, the same results.
 *
 * @returns The parts in order, built when they are asked for, all weights 0; the caller disposes each. The first takes
 *   ids [B, T], the others what the one before gives first, float32 [B, T, H]; the last gives logits. Where the head
 *   shares the embedding's weights, the first part holds a head too and gives its logits second.
 */
export function* buildParts(config: LlamaConfig): Generator<tf.LayersModel, void, undefined> {
  registerLlamaLayers();
  const {hiddenSize, layers, tiedEmbedding, vocabularySize} = config;
  const ids = tf.input({shape: [null], dtype: 'int32', name: 'input_ids'});
  const looked = embedded(config, ids);
  const tied = tiedEmbedding ? [apply(dense(HEAD_NAME, vocabularySize, false), looked)] : [];
  yield tf.model({inputs: ids, outputs: [looked, ...tied]});
  for (let i = 0; i <= layers; i++) {
    const hidden = tf.input({shape: [null, hiddenSize], name: 'hidden'}); // [B, T, H]
    const outputs = i < layers ? block(config, `model.layers.${i}`, hidden) : head(config, hidden);
    yield tf.model({inputs: hidden, outputs});
  }
}

function embedded(config: LlamaConfig, ids: Symbolic): Symbolic {
  const {vocabularySize, hiddenSize, tiedEmbedding, embeddingScale} = config;
  const embedding = tiedEmbedding
    ? new TiedEmbedding({name: EMBEDDING_NAME, hiddenSize})
    : tf.layers.embedding({
        name: EMBEDDING_NAME,
        inputDim: vocabularySize,
        outputDim: hiddenSize,
        embeddingsInitializer: 'zeros',
      });
  const looked = apply(embedding, ids);
  if (embeddingScale === 1) return looked;
  return apply(new Scale({name: `${EMBEDDING_NAME}.scale`, factor: embeddingScale}), looked);
}

function head(config: LlamaConfig, hidden: Symbolic): Symbolic {
  return apply(dense(HEAD_NAME, config.vocabularySize, false), norm(config, FINAL_NORM_NAME, hidden));
}

function block(config: LlamaConfig, path: string, input: Symbolic): Symbolic {
  const attended = attention(config, `${path}.self_attn`, norm(config, `${path}.input_layernorm`, input));
  const middle = add(`${path}.self_attn.add`, input, attended);
  const normed = norm(config, `${path}.post_attention_layernorm`, middle);
  return add(`${path}.mlp.add`, middle, feedForward(config, path, normed));
}

function attention(config: LlamaConfig, path: string, input: Symbolic): Symbolic {
  const {heads, keyHeads, headSize, hiddenSize, bias} = config;
  const project = (name: string, count: number) =>
    apply(dense(`${path}.${name}`, count * headSize, bias.qkv), input);
  const projected = config.fusedProjections
    ? project('qkv_proj', heads + 2 * keyHeads)
    : [project('q_proj', heads), project('k_proj', keyHeads), project('v_proj', keyHeads)];
  const layer = new RotaryAttention({
    name: path,
    heads,
    keyHeads,
    headSize,
    frequencies: [...rotaryFrequencies(config)],
    attentionFactor: rotaryAttentionFactor(config.ropeScaling),
    slidingWindow: config.slidingWindow ?? 0,
    normEpsilon: config.queryKeyNorm ? config.normEpsilon : 0,
  });
  return apply(dense(`${path}.o_proj`, hiddenSize, bias.output), apply(layer, projected));
}

function feedForward(config: LlamaConfig, path: string, input: Symbolic): Symbolic {
  const {hiddenSize, intermediateSize, activation, bias, experts} = config;
  if (experts !== null) {
    const {count, perToken} = experts;
    const name = `${path}.block_sparse_moe`;
    return apply(
      new MixtureOfExperts({name, experts: count, perToken, intermediateSize, hiddenSize, activation}),
      input,
    );
  }
  const project = (name: string, units: number) =>
    apply(dense(`${path}.mlp.${name}`, units, bias.mlp), input);
  const projected = config.fusedProjections
    ? project('gate_up_proj', 2 * intermediateSize)
    : [project('gate_proj', intermediateSize), project('up_proj', intermediateSize)];
  const gated = apply(new GatedActivation({name: `${path}.mlp`, activation}), projected);
  return apply(dense(`${path}.mlp.down_proj`, hiddenSize, bias.mlp), gated);
}

function norm(config: LlamaConfig, name: string, input: Symbolic): Symbolic {
  return apply(new RMSNorm({name, epsilon: config.normEpsilon}), input);
}

function add(name: string, a: Symbolic, b: Symbolic): Symbolic {
  return apply(tf.layers.add({name}), [a, b]);
}

/** Zeros: a random initializer costs 40 ms a layer, for values that are overwritten. */
function dense(name: string, units: number, useBias: boolean): Layer {
  return tf.layers.dense({name, units, useBias, kernelInitializer: 'zeros'});
}

function apply(layer: Layer, inputs: Symbolic | Symbolic[]): Symbolic {
  return layer.apply(inputs) as Symbolic;
}
