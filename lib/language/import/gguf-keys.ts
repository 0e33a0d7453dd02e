/**
 * @file Which metadata keys of a GGUF file may be left unread. A key that changes what the model computes, or how its text
 * is cut, and that is not understood would give wrong results in silence, so every key of the architecture and of the
 * tokenizer must be known: read by the importer, without effect, or at a value that says "not used". The names and what
 * they do: llama.cpp, src/llama-arch.cpp (LLM_KV_NAMES) and src/llama-model.cpp (load_hparams).
 */
import {ModelError} from '../../errors.js';
import type {GateActivation, LlamaConfig} from '../config/llama-config.js';
import type {GgufMetadata} from './gguf-header.js';

/** Keys of an architecture that no logit depends on. */
const HARMLESS: ReadonlySet<string> = new Set([
  ...['vocab_size', 'pooling_type', 'decoder_start_token_id'], // the embedding has a row for every token
  ...['rope.scaling.finetuned', 'rope.scaling.original_context_length'],
  // YaRN alone reads them, and its scaling type is refused.
  ...['rope.scaling.yarn_log_multiplier', 'rope.scaling.yarn_beta_fast', 'rope.scaling.yarn_beta_slow'],
]);

/** What a file may call an activation that the family has anyway. */
const ACTIVATIONS: Readonly<Record<GateActivation, readonly string[]>> = {
  silu: ['silu', 'swish'],
  gelu: ['gelu'],
  gelu_tanh: ['gelu', 'gelu_tanh', 'gelu_pytorch_tanh'],
};

/** Keys of an architecture, and the values at which they change nothing. */
function neutralValues(config: LlamaConfig): Readonly<Record<string, readonly unknown[]>> {
  const {headSize, intermediateSize, ropeTheta, embeddingScale} = config;
  const attentionScale = Math.fround(1 / Math.sqrt(headSize));
  return {
    // Scales: llama.cpp takes 0 for "not there".
    ...{
      'attention.scale': [0, attentionScale],
      'attention.output_scale': [0, 1],
      'attention.value_scale': [0, 1],
    },
    ...{logit_scale: [0, 1], residual_scale: [0, 1], embedding_scale: [0, 1, Math.fround(embeddingScale)]},
    ...{'attention.temperature_length': [0], 'attention.temperature_scale': [0]},
    // Limits.
    ...{attn_logit_softcapping: [0], final_logit_softcapping: [0], router_logit_softcapping: [0]},
    ...{
      'attention.clamp_kqv': [0],
      'attention.max_alibi_bias': [0],
      swiglu_clamp_exp: [0],
      swiglu_clamp_shexp: [0],
    },
    ...{
      'attention.causal': [true],
      use_parallel_residual: [false],
      hidden_activation: ACTIVATIONS[config.activation],
    },
    // Layers that differ from the others.
    ...{
      leading_dense_block_count: [0],
      nextn_predict_layers: [0],
      n_deepstack_layers: [0],
      decoder_block_count: [0],
    },
    ...{
      'attention.shared_kv_layers': [0],
      full_attention_interval: [0, 1],
      interleave_moe_layer_step: [0, 1],
    },
    ...{moe_every_n_layers: [0, 1], 'attention.q_lora_rank': [0], 'attention.kv_lora_rank': [0]},
    'attention.sliding_window_pattern': [0, true], // every layer has the window
    ...{'attention.key_length_swa': [headSize], 'attention.value_length_swa': [headSize]},
    // Experts: those of mixtral are weighted by a softmax over the chosen ones.
    ...{
      expert_used_count: [0],
      expert_feed_forward_length: [0, intermediateSize],
      expert_shared_feed_forward_length: [0],
    },
    ...{
      expert_shared_count: [0],
      expert_group_count: [0, 1],
      expert_group_used_count: [0, 1],
      expert_group_scale: [0, 1],
    },
    ...{
      expert_weights_scale: [0, 1],
      expert_weights_norm: [true],
      expert_gating_func: [0, 1],
      experts_per_group: [0],
    },
    // Rotation.
    ...{'rope.freq_base_swa': [Math.fround(ropeTheta)], 'rope.dimension_count_swa': [headSize]},
    ...{
      'rope.scaling.alpha': [0],
      'rope.scaling.yarn_ext_factor': [0, -1],
      'rope.scaling.yarn_attn_factor': [1, -1],
    },
    // The order of rows that every file of architecture llama has, and what the specification calls no change at all.
    tensor_data_layout: ['reference', 'Meta AI original pth'],
  };
}

/** Keys under `tokenizer.` that are read, or change no id. */
const TOKENIZER: ReadonlySet<string> = new Set([
  ...['ggml.model', 'ggml.pre', 'ggml.tokens', 'ggml.token_type', 'ggml.scores', 'ggml.merges'],
  ...['ggml.token_type_count', 'ggml.add_bos_token', 'ggml.add_eos_token', 'ggml.add_space_prefix'],
  ...['huggingface.json', 'rwkv.world'], // the same vocabulary in another form
]);
/** Ids of tokens, chat templates: named, and used only by who asks for them. */
const TOKENIZER_NAMES = /^(?:ggml\.\w+_token_ids?|chat_templates?(?:\.\w+)?)$/;
/** Keys under `tokenizer.` and the values at which they change nothing. */
const TOKENIZER_NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  ...{
    'ggml.add_sep_token': [false],
    'ggml.remove_extra_whitespaces': [false],
    'ggml.escape_whitespaces': [true],
  },
  ...{
    'ggml.treat_whitespace_as_suffix': [false],
    'ggml.suppress_tokens': [],
    'ggml.precompiled_charsmap': [],
  },
  ...{'ggml.normalizer.lowercase': [false], 'ggml.normalizer.strip_accents': [false]},
};

/** Parts of other kinds of files: an adapter or a projector changes what the model computes. */
const OTHER_PARTS = /^(?:adapter|clip|xielu|controlvector)\./;

/**
 * Checks that no key was passed over that changes the computation.
 *
 * @param metadata Of the file.
 * @param read Keys that the importer has read, without `llama.` in front.
 * @param config What it has made of them.
 * @param path The file, for errors.
 * @throws {ModelError} `unknown-metadata` with the key and its value; `unsupported-format` for a file that is no model.
 */
export function checkKeys(
  metadata: GgufMetadata,
  read: ReadonlySet<string>,
  config: LlamaConfig,
  path: string,
): void {
  const type = metadata.get('general.type') ?? 'model';
  if (type !== 'model') {
    throw new ModelError(
      'unsupported-format',
      `${path} holds ${JSON.stringify(type)} ("general.type"), no model: name the file of the model itself`,
      {path, type},
    );
  }
  const architecture = `${String(metadata.get('general.architecture'))}.`;
  const neutral = neutralValues(config);
  for (const [key, value] of metadata) {
    if (key.startsWith(architecture)) {
      const own = key.slice(architecture.length);
      if (read.has(own) || HARMLESS.has(own)) continue;
      if (own === 'attention.sliding_window_pattern' && config.slidingWindow === null) continue;
      check(key, value, neutralOf(neutral, own), path);
    } else if (key.startsWith('tokenizer.')) {
      const own = key.slice('tokenizer.'.length);
      if (TOKENIZER.has(own) || TOKENIZER_NAMES.test(own)) continue;
      check(key, value, neutralOf(TOKENIZER_NEUTRAL, own), path);
    } else if (OTHER_PARTS.test(key)) {
      check(key, value, null, path);
    }
  }
}

function neutralOf(
  table: Readonly<Record<string, readonly unknown[]>>,
  key: string,
): readonly unknown[] | null {
  return Object.hasOwn(table, key) ? table[key] : null;
}

/** An empty list says nothing, whatever its key is called; a list may also repeat a neutral value for every layer. */
function check(key: string, value: unknown, neutral: readonly unknown[] | null, path: string): void {
  const values: unknown[] = Array.isArray(value) ? value : [value];
  if (
    neutral !== null &&
    values.every((one) => neutral.includes(typeof one === 'bigint' ? Number(one) : one))
  )
    return;
  const got = JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? Number(part) : part));
  throw new ModelError(
    'unknown-metadata',
    `"${key.slice(0, 200)}" of ${path} is ${got.slice(0, 80)}, which ${neutral === null || neutral.length === 0 ? 'is not understood here' : `can be ${neutral.map((one) => JSON.stringify(one)).join(' or ')} only`}: ` +
      'leaving it out could change the results. Use the Hugging Face folder of this model; or, if you know that the key ' +
      'changes nothing, take it out with `gguf-new-metadata --remove-metadata` (Python package gguf)',
    {path, key, value},
  );
}
