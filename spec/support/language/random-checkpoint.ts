/** @file Small configurations of every architecture, and checkpoints of them with seeded random weights in memory. */
import type {Checkpoint, CheckpointTensor} from '../../../lib/language/weights/checkpoint.js';
import type {LlamaConfig} from '../../../lib/language/config/llama-config.js';
import {parseConfig} from '../../../lib/language/config/parse-config.js';
import {normals} from '../normals.js';

const SMALL = {
  vocab_size: 96,
  hidden_size: 32,
  intermediate_size: 56,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 512,
};

const LONGROPE = {
  type: 'longrope',
  short_factor: [1, 1.1, 1.25, 1.5],
  long_factor: [1.5, 2.5, 4, 9],
};

/** `config.json` of each architecture, small; together they use every feature. */
export const SMALL_CONFIGS: Readonly<Record<string, Record<string, unknown>>> = {
  llama: {...SMALL, model_type: 'llama', rope_scaling: {type: 'linear', factor: 4}},
  'llama with llama3 scaling': {
    ...SMALL,
    model_type: 'llama',
    tie_word_embeddings: true,
    attention_bias: true,
    mlp_bias: true,
    rope_theta: 500000,
    rope_scaling: {
      rope_type: 'llama3',
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 16,
    },
  },
  mistral: {...SMALL, model_type: 'mistral', sliding_window: 7, head_dim: 12},
  mixtral: {...SMALL, model_type: 'mixtral', num_local_experts: 5, num_experts_per_tok: 3},
  qwen2: {...SMALL, model_type: 'qwen2', tie_word_embeddings: true},
  qwen3: {...SMALL, model_type: 'qwen3', head_dim: 10, tie_word_embeddings: true},
  phi3: {...SMALL, model_type: 'phi3', sliding_window: 9},
  'phi3 with short factors': {
    ...SMALL,
    model_type: 'phi3',
    original_max_position_embeddings: 64,
    rope_scaling: LONGROPE,
  },
  gemma: {
    ...SMALL,
    model_type: 'gemma',
    head_dim: 16,
    num_key_value_heads: 1,
    hidden_act: 'gelu',
  },
  'gemma, untied, with exact gelu': {
    ...SMALL,
    model_type: 'gemma',
    head_dim: 8,
    hidden_activation: 'gelu',
    tie_word_embeddings: false,
  },
};

/** All architectures by title, and phi3 beyond its original context. */
export function smallConfigs(): Map<string, LlamaConfig> {
  const configs = new Map(Object.entries(SMALL_CONFIGS).map(([title, json]) => [title, parseConfig(json)]));
  configs.set(
    'phi3 with long factors',
    parseConfig(SMALL_CONFIGS['phi3 with short factors'], {contextLength: 65}),
  );
  return configs;
}

/** The tensors that a published checkpoint of a configuration holds, by Hugging Face's names and shapes. */
export function tensorShapes(config: LlamaConfig): Map<string, number[]> {
  const {vocabularySize, hiddenSize, intermediateSize, heads, keyHeads, headSize, bias} = config;
  const shapes = new Map<string, number[]>([['model.embed_tokens.weight', [vocabularySize, hiddenSize]]]);
  const linear = (name: string, out: number, inputs: number, hasBias: boolean): void => {
    shapes.set(`${name}.weight`, [out, inputs]);
    if (hasBias) shapes.set(`${name}.bias`, [out]);
  };
  for (let i = 0; i < config.layers; i++) {
    const path = `model.layers.${i}`;
    shapes.set(`${path}.input_layernorm.weight`, [hiddenSize]);
    shapes.set(`${path}.post_attention_layernorm.weight`, [hiddenSize]);
    linear(`${path}.self_attn.o_proj`, hiddenSize, heads * headSize, bias.output);
    if (config.architecture === 'phi3') {
      linear(`${path}.self_attn.qkv_proj`, (heads + 2 * keyHeads) * headSize, hiddenSize, false);
      linear(`${path}.mlp.gate_up_proj`, 2 * intermediateSize, hiddenSize, false);
      linear(`${path}.mlp.down_proj`, hiddenSize, intermediateSize, false);
      continue;
    }
    linear(`${path}.self_attn.q_proj`, heads * headSize, hiddenSize, bias.qkv);
    linear(`${path}.self_attn.k_proj`, keyHeads * headSize, hiddenSize, bias.qkv);
    linear(`${path}.self_attn.v_proj`, keyHeads * headSize, hiddenSize, bias.qkv);
    if (config.architecture === 'qwen3') {
      shapes.set(`${path}.self_attn.q_norm.weight`, [headSize]);
      shapes.set(`${path}.self_attn.k_norm.weight`, [headSize]);
    }
    if (config.experts !== null) {
      linear(`${path}.block_sparse_moe.gate`, config.experts.count, hiddenSize, false);
      for (let e = 0; e < config.experts.count; e++) {
        linear(`${path}.block_sparse_moe.experts.${e}.w1`, intermediateSize, hiddenSize, false);
        linear(`${path}.block_sparse_moe.experts.${e}.w2`, hiddenSize, intermediateSize, false);
        linear(`${path}.block_sparse_moe.experts.${e}.w3`, intermediateSize, hiddenSize, false);
      }
      continue;
    }
    linear(`${path}.mlp.gate_proj`, intermediateSize, hiddenSize, bias.mlp);
    linear(`${path}.mlp.up_proj`, intermediateSize, hiddenSize, bias.mlp);
    linear(`${path}.mlp.down_proj`, hiddenSize, intermediateSize, bias.mlp);
  }
  shapes.set('model.norm.weight', [hiddenSize]);
  if (!config.tiedEmbedding) shapes.set('lm_head.weight', [vocabularySize, hiddenSize]);
  return shapes;
}

/** Values by name: matrices scaled so that activations stay near 1, norms near their neutral value. */
export function randomWeights(config: LlamaConfig, seed: number): Map<string, Float32Array> {
  const neutral = config.architecture === 'gemma' ? 0 : 1;
  return new Map(
    [...tensorShapes(config)].map(([name, shape], i) => {
      const size = shape.reduce((product, dimension) => product * dimension, 1);
      const values = normals(size, seed + i, shape.length === 1 ? 0.2 : 1.5 / Math.sqrt(shape[1]));
      if (name.includes('norm')) for (let j = 0; j < size; j++) values[j] += neutral;
      return [name, values];
    }),
  );
}

/** A checkpoint in memory. */
export function checkpointOf(config: LlamaConfig, weights: ReadonlyMap<string, Float32Array>): Checkpoint {
  const shapes = tensorShapes(config);
  const tensors = new Map<string, CheckpointTensor>();
  for (const [name, shape] of shapes) tensors.set(name, {name, shape, dtype: 'F32'});
  return {
    config,
    tensors,
    normOffset: config.architecture === 'gemma' ? 1 : 0,
    tokenizer: null,
    read: (name) => Promise.resolve(weights.get(name)!.slice()),
    close: () => Promise.resolve(),
  };
}

/** Seeded ids in [0, vocabulary). */
export function randomIds(count: number, vocabularySize: number, seed: number): number[] {
  return Array.from(normals(count, seed), (value) => Math.floor(Math.abs(value) * 1e6) % vocabularySize);
}
