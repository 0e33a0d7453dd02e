/**
 * @file Which fields of a Hugging Face `config.json` may stay unread. A field that changes what the model computes and is
 * not understood would give wrong results in silence, so every field must be known: read by the parser, without effect on
 * a forward pass, or at a value that says "not used". What they do: transformers, `configuration_*.py`.
 */
import {ModelError} from '../../errors.js';
import type {LlamaConfig} from './llama-config.js';
import type {Fields} from './config-field.js';

/** Fields that no logit depends on: of saving, training, generation and other tasks. */
const HARMLESS: ReadonlySet<string> = new Set([
  ...[
    'architectures',
    'auto_map',
    'dtype',
    'use_bfloat16',
    'name_or_path',
    'base_model_name_or_path',
    'license',
  ],
  ...[
    'transformers.js_config',
    'is_llama_config',
    'tokenizer_class',
    'special_tokens_map_file',
    'language',
    'prefix',
  ],
  ...[
    'use_cache',
    'pretraining_tp',
    'gradient_checkpointing',
    'chunk_size_feed_forward',
    'base_model_tp_plan',
  ],
  ...[
    'keys_to_ignore_at_inference',
    'attn_implementation',
    'use_flash_attn',
    'use_flash_attention_2',
    'torchscript',
  ],
  ...[
    'router_jitter_noise',
    'init_std',
    'max_sequence_length',
    'model_max_length',
    'is_decoder',
    'return_dict',
  ],
  ...['finetuning_task', 'task_specific_params', 'problem_type', 'num_labels', 'id2label', 'label2id'],
  ...['tie_encoder_decoder', 'cross_attention_hidden_size', 'tf_legacy_loss', 'remove_invalid_values'],
  ...[
    'max_length',
    'min_length',
    'max_new_tokens',
    'do_sample',
    'early_stopping',
    'num_beams',
    'num_beam_groups',
  ],
  ...[
    'temperature',
    'top_k',
    'top_p',
    'min_p',
    'typical_p',
    'repetition_penalty',
    'length_penalty',
    'diversity_penalty',
  ],
  ...['no_repeat_ngram_size', 'encoder_no_repeat_ngram_size', 'bad_words_ids', 'num_return_sequences'],
  ...['return_dict_in_generate', 'exponential_decay_length_penalty'],
]);
/** Names of the same kinds: private notes, ids and texts of tokens, dropout, losses, versions, what to put out. */
const HARMLESS_NAMES =
  /^_|_token(?:_ids?)?$|(?:^|_)dropout(?:_|$)|_pdrop$|_loss(?:_|$)|_version$|^(?:unsloth|transformers|torch|output|initializer)_/;

/** Fields and the values at which they change nothing. */
function neutralValues({
  headSize,
  slidingWindow,
  architecture,
}: LlamaConfig): Readonly<Record<string, readonly unknown[]>> {
  return {
    ...{
      attention_bias: [false],
      mlp_bias: [false],
      qkv_bias: [false],
      lm_head_bias: [false],
      use_bias: [false],
    },
    ...{add_bias_linear: [false], add_qkv_bias: [false], bias: [false]},
    ...{
      rope_interleaved: [false],
      use_mrope: [false],
      rotary_pct: [1],
      rotary_emb_base: [],
      position_embedding_type: ['rope'],
    },
    ...{full_attn_mod: [1], interpolate_factor: [1], no_rope_layers: [], no_rope_layer_interval: [0]},
    ...{
      residual_multiplier: [1],
      embedding_multiplier: [1],
      logits_scaling: [1],
      logit_scale: [1],
      scale_emb: [1],
    },
    ...{query_pre_attn_scalar: [headSize], attention_multiplier: [1 / Math.sqrt(headSize)]},
    ...{qk_layernorm: [false], use_qk_norm: [architecture === 'qwen3'], qk_norm: [architecture === 'qwen3']},
    ...{is_causal: [true], use_bidirectional_attention: [false], alibi: [false], use_alibi: [false]},
    ...{parallel_attn: [false], use_parallel_residual: [false], parallel_residual: [false]},
    ...{
      use_sliding_window: [false],
      layer_types: [slidingWindow === null ? 'full_attention' : 'sliding_attention'],
    },
    ...{
      num_experts: [0],
      num_local_experts: [0],
      n_routed_experts: [0],
      moe_intermediate_size: [],
      norm_topk_prob: [true],
    },
    ...{is_encoder_decoder: [false], add_cross_attention: [false], num_nextn_predict_layers: [0]},
  };
}

/**
 * Checks that no field was passed over that changes the computation.
 *
 * @param fields The file, all of it that is understood read.
 * @param config What was made of it.
 * @throws {ModelError} `unknown-field` with the field and its value.
 */
export function checkUnread(fields: Fields, config: LlamaConfig): void {
  const neutral = neutralValues(config);
  for (const [field, value] of fields.unread()) {
    if (HARMLESS.has(field) || HARMLESS_NAMES.test(field) || isEmpty(value)) continue;
    const allowed = Object.hasOwn(neutral, field) ? neutral[field] : [];
    // A list has one value a layer.
    if ((Array.isArray(value) ? value : [value]).every((one) => allowed.includes(one))) continue;
    throw unknownField(fields, field, allowed);
  }
}

/**
 * Checks that all fields of an object were read.
 *
 * @param harmless Names that may be there all the same.
 * @throws {ModelError} `unknown-field`.
 */
export function checkAllRead(fields: Fields, harmless: readonly string[]): void {
  for (const [field] of fields.unread()) if (!harmless.includes(field)) throw unknownField(fields, field, []);
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

function unknownField(fields: Fields, field: string, allowed: readonly unknown[]): ModelError {
  const value = fields.raw(field);
  const what =
    allowed.length === 0
      ? 'is not understood here'
      : `can be ${allowed.map((one) => JSON.stringify(one)).join(' or ')} only in this family`;
  return new ModelError(
    'unknown-field',
    `${fields.path}: "${field.slice(0, 100)}" is ${JSON.stringify(value).slice(0, 100)}, which ${what}: leaving it out ` +
      'could change the results. Use another checkpoint; or, if you know that the field changes nothing, remove it from the file',
    {field, value},
  );
}
