/** @file Which tensor of a checkpoint, of which shape, fills which weight of the model. */
import type {LlamaConfig} from '../config/llama-config.js';
import {EMBEDDING_NAME, FINAL_NORM_NAME} from '../graph/build-model.js';
import {HEAD_NAME} from '../graph/layers/tied-embedding.js';

/** One weight to fill. */
export interface PlannedWeight {
  /** Hugging Face name of the tensor. */
  readonly tensor: string;
  /** In Hugging Face layout: [out, in] for a linear layer. */
  readonly shape: readonly number[];
  /** Path of the layer as `walkModel` gives it. */
  readonly path: string;
  /** Last part of the weight's name in the layer. */
  readonly weight: 'kernel' | 'bias' | 'embeddings' | 'weight' | 'q_norm' | 'k_norm';
}

/** Every weight of the model of `config`, in the order of the layers. */
export function weightPlan(config: LlamaConfig): PlannedWeight[] {
  const {vocabularySize, hiddenSize, tiedEmbedding, layers} = config;
  const plan: PlannedWeight[] = [];
  const embedding = {tensor: `${EMBEDDING_NAME}.weight`, shape: [vocabularySize, hiddenSize]};
  if (!tiedEmbedding) plan.push({...embedding, path: EMBEDDING_NAME, weight: 'embeddings'});
  for (let i = 0; i < layers; i++) plan.push(...blockPlan(config, `model.layers.${i}`));
  plan.push(norm(FINAL_NORM_NAME, hiddenSize));
  plan.push({
    tensor: tiedEmbedding ? embedding.tensor : `${HEAD_NAME}.weight`,
    shape: [vocabularySize, hiddenSize],
    path: HEAD_NAME,
    weight: 'kernel',
  });
  return plan;
}

function blockPlan(config: LlamaConfig, path: string): PlannedWeight[] {
  const {hiddenSize, heads, keyHeads, headSize, bias, queryKeyNorm, fusedProjections} = config;
  const attention = `${path}.self_attn`;
  const [queries, keys] = [heads * headSize, keyHeads * headSize];
  return [
    norm(`${path}.input_layernorm`, hiddenSize),
    ...(fusedProjections
      ? linear(`${attention}.qkv_proj`, hiddenSize, queries + 2 * keys, bias.qkv)
      : [
          ...linear(`${attention}.q_proj`, hiddenSize, queries, bias.qkv),
          ...linear(`${attention}.k_proj`, hiddenSize, keys, bias.qkv),
          ...linear(`${attention}.v_proj`, hiddenSize, keys, bias.qkv),
        ]),
    ...(queryKeyNorm
      ? (['q_norm', 'k_norm'] as const).map((weight) => ({
          tensor: `${attention}.${weight}.weight`,
          shape: [headSize],
          path: attention,
          weight,
        }))
      : []),
    ...linear(`${attention}.o_proj`, queries, hiddenSize, bias.output),
    norm(`${path}.post_attention_layernorm`, hiddenSize),
    ...feedForwardPlan(config, path),
  ];
}

function feedForwardPlan(config: LlamaConfig, path: string): PlannedWeight[] {
  const {hiddenSize, intermediateSize, bias, fusedProjections, experts} = config;
  if (experts !== null) {
    const mixture = `${path}.block_sparse_moe`;
    const inner = (name: string, inputs: number, outputs: number): PlannedWeight => ({
      tensor: `${mixture}.${name}.weight`,
      shape: [outputs, inputs],
      path: `${mixture}/${name}`,
      weight: 'kernel',
    });
    return [
      inner('gate', hiddenSize, experts.count),
      ...Array.from({length: experts.count}, (_, i) => [
        inner(`experts.${i}.w1`, hiddenSize, intermediateSize),
        inner(`experts.${i}.w3`, hiddenSize, intermediateSize),
        inner(`experts.${i}.w2`, intermediateSize, hiddenSize),
      ]).flat(),
    ];
  }
  return [
    ...(fusedProjections
      ? linear(`${path}.mlp.gate_up_proj`, hiddenSize, 2 * intermediateSize, bias.mlp)
      : [
          ...linear(`${path}.mlp.gate_proj`, hiddenSize, intermediateSize, bias.mlp),
          ...linear(`${path}.mlp.up_proj`, hiddenSize, intermediateSize, bias.mlp),
        ]),
    ...linear(`${path}.mlp.down_proj`, intermediateSize, hiddenSize, bias.mlp),
  ];
}

function linear(path: string, inputs: number, outputs: number, bias: boolean): PlannedWeight[] {
  const kernel = {tensor: `${path}.weight`, shape: [outputs, inputs], path, weight: 'kernel'} as const;
  if (!bias) return [kernel];
  return [kernel, {tensor: `${path}.bias`, shape: [outputs], path, weight: 'bias'}];
}

function norm(path: string, size: number): PlannedWeight {
  return {tensor: `${path}.weight`, shape: [size], path, weight: 'weight'};
}
