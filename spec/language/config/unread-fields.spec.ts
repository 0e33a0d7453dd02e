import {expect} from 'chai';
import {ModelError} from '../../../lib/errors.js';
import {parseConfig} from '../../../lib/language/config/parse-config.js';
import {SMALL_CONFIGS} from '../../support/language/random-checkpoint.js';
import {rejection} from '../../support/rejection.js';

/** Fields of published files that change no logit, with the value that they have there. */
const PUBLISHED = {
  architectures: ['LlamaForCausalLM'],
  _name_or_path: 'models/base',
  _attn_implementation_autoset: true,
  auto_map: {AutoConfig: 'configuration_phi3.Phi3Config'},
  attention_dropout: 0,
  embd_pdrop: 0,
  resid_pdrop: 0,
  hidden_dropout_prob: 0.1,
  initializer_range: 0.02,
  pretraining_tp: 1,
  pad_token_id: 2,
  bos_token: '<s>',
  torch_dtype: 'bfloat16',
  dtype: 'float32',
  transformers_version: '4.42.3',
  unsloth_fixed: true,
  use_cache: true,
  'transformers.js_config': {dtype: 'q4'},
  is_llama_config: true,
  rope_interleaved: false,
  router_aux_loss_coef: 0.001,
  output_router_logits: false,
  router_jitter_noise: 0,
  task_specific_params: null,
  some_field_of_next_year: null,
  id2label: {0: 'LABEL_0'},
  max_length: 20,
  pruned_heads: {},
};

/** Fields that change the computation, with a value that does. */
const CHANGING: Record<string, unknown> = {
  attn_logit_softcapping: 50,
  final_logit_softcapping: 30,
  embedding_multiplier: 12,
  residual_multiplier: 0.22,
  attention_multiplier: 0.5,
  logits_scaling: 8,
  logit_scale: 0.0625,
  query_pre_attn_scalar: 144,
  rope_interleaved: true,
  use_mrope: true,
  qk_layernorm: true,
  lm_head_bias: true,
  no_rope_layers: [1, 1, 1, 0],
  num_experts: 4,
  clip_qkv: 8,
  attention_chunk_size: 8192,
  quantization: {group_size: 64, bits: 4},
  some_field_of_next_year: false,
  layer_types: ['full_attention', 'linear_attention'],
};

describe('fields of config.json that are not read', () => {
  for (const [title, json] of Object.entries(SMALL_CONFIGS)) {
    it(`pass where they change nothing: ${title}`, () => {
      expect(parseConfig({...json, ...PUBLISHED})).to.deep.equal(parseConfig(json));
    });
  }

  for (const [field, value] of Object.entries(CHANGING)) {
    it(`are refused: ${field}`, () => {
      expect(() => parseConfig({...SMALL_CONFIGS['llama'], [field]: value}))
        .to.throw(ModelError, `"${field}" is ${JSON.stringify(value)}`)
        .with.property('code', 'unknown-field');
    });
  }

  for (const [family, fields] of Object.entries({
    llama: {sliding_window: 16, hidden_activation: 'gelu'},
    gemma: {sliding_window: 16, mlp_bias: true},
    mistral: {attention_bias: true, layer_types: ['full_attention', 'full_attention']},
    mixtral: {attention_bias: true},
    phi3: {attention_bias: true, mlp_bias: true, lm_head_bias: true},
    qwen2: {use_qk_norm: true, layer_types: ['sliding_attention', 'sliding_attention']},
    qwen3: {mlp_bias: true, use_qk_norm: false},
  })) {
    for (const [field, value] of Object.entries<unknown>(fields)) {
      it(`are refused where a family has no such thing: ${field} of ${family}`, () => {
        expect(() => parseConfig({...SMALL_CONFIGS[family], [field]: value}))
          .to.throw(ModelError, field)
          .with.property('code', 'unknown-field');
      });
    }
  }

  it('pass where they say what the family does anyway', () => {
    const layers = (type: string) => ({layer_types: [type, type]});
    for (const [family, fields] of [
      [
        'qwen2',
        {attention_bias: true, ...layers('full_attention'), sliding_window: 32, max_window_layers: 1},
      ],
      ['qwen2', {attention_bias: false, qkv_bias: true}],
      ['qwen3', {use_qk_norm: true}],
      ['mistral', layers('sliding_attention')],
      ['gemma', {query_pre_attn_scalar: 16, hidden_activation: null}],
      ['phi3', {original_max_position_embeddings: 4096, partial_rotary_factor: 1}],
    ] as [string, object][]) {
      expect(parseConfig({...SMALL_CONFIGS[family], ...fields})).to.deep.equal(
        parseConfig(SMALL_CONFIGS[family]),
      );
    }
    expect(
      parseConfig({...SMALL_CONFIGS['gemma'], hidden_activation: 'gelu', hidden_act: 'silu'}).activation,
    ).to.equal('gelu');
  });

  /** Values at which a field changes nothing, of a llama with heads of size 8 and no window. */
  const NEUTRAL: Readonly<Record<string, unknown>> = {
    ...{qkv_bias: false, lm_head_bias: false, use_bias: false, add_bias_linear: false, add_qkv_bias: false},
    ...{
      bias: false,
      rope_interleaved: false,
      use_mrope: false,
      rotary_pct: 1,
      position_embedding_type: 'rope',
    },
    ...{full_attn_mod: 1, interpolate_factor: 1, no_rope_layer_interval: 0, residual_multiplier: 1},
    ...{embedding_multiplier: 1, logits_scaling: 1, logit_scale: 1, scale_emb: 1, query_pre_attn_scalar: 8},
    ...{attention_multiplier: 1 / Math.sqrt(8), qk_layernorm: false, use_qk_norm: false, qk_norm: false},
    ...{is_causal: true, use_bidirectional_attention: false, alibi: false, use_alibi: false},
    ...{parallel_attn: false, use_parallel_residual: false, parallel_residual: false},
    ...{use_sliding_window: false, layer_types: 'full_attention', num_experts: 0, num_local_experts: 0},
    ...{n_routed_experts: 0, norm_topk_prob: true, is_encoder_decoder: false, add_cross_attention: false},
    ...{num_nextn_predict_layers: 0},
  };

  for (const [field, value] of Object.entries(NEUTRAL)) {
    it(`pass at the value that changes nothing, and at no other: ${field}`, async () => {
      const llama = SMALL_CONFIGS['llama'];
      for (const one of [value, [value, value]])
        expect(parseConfig({...llama, [field]: one})).to.deep.equal(parseConfig(llama));
      for (const other of [typeof value === 'boolean' ? !value : 7, [value, 7]]) {
        const error = await rejection(() => parseConfig({...llama, [field]: other}), 'unknown-field');
        expect(error.message).to.equal(
          `config.json: "${field}" is ${JSON.stringify(other)}, which can be ${JSON.stringify(value)} only in this ` +
            'family: leaving it out could change the results. Use another checkpoint; or, if you know that the field ' +
            'changes nothing, remove it from the file',
        );
        expect(error.data).to.deep.equal({field, value: other});
      }
    });
  }

  for (const field of [
    'rotary_emb_base',
    'no_rope_layers',
    'moe_intermediate_size',
    'toString',
    'x_token_idx',
    'y',
  ]) {
    it(`are refused at any value: ${field}`, async () => {
      const json = {...SMALL_CONFIGS['llama'], [field]: 1};
      const error = await rejection(() => parseConfig(json), 'unknown-field');
      expect(error.message).to.include(`"${field}" is 1, which is not understood here: leaving it out`);
    });
  }

  it('are named in short where they are long', async () => {
    const json = {...SMALL_CONFIGS['llama'], ['f'.repeat(200)]: 'v'.repeat(200)};
    const error = await rejection(() => parseConfig(json), 'unknown-field');
    expect(error.message).to.include(`"${'f'.repeat(100)}" is "${'v'.repeat(99)}, which`);
  });

  /** What published files say of saving, training, generating and other tasks. */
  const HARMLESS = [
    'architectures auto_map dtype use_bfloat16 name_or_path base_model_name_or_path license transformers.js_config',
    'is_llama_config tokenizer_class special_tokens_map_file language prefix use_cache pretraining_tp',
    'gradient_checkpointing chunk_size_feed_forward base_model_tp_plan keys_to_ignore_at_inference',
    'attn_implementation use_flash_attn use_flash_attention_2 torchscript router_jitter_noise init_std',
    'max_sequence_length model_max_length is_decoder return_dict finetuning_task task_specific_params problem_type',
    'num_labels id2label label2id tie_encoder_decoder cross_attention_hidden_size tf_legacy_loss',
    'remove_invalid_values max_length min_length max_new_tokens do_sample early_stopping num_beams num_beam_groups',
    'temperature top_k top_p min_p typical_p repetition_penalty length_penalty diversity_penalty',
    'no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids num_return_sequences return_dict_in_generate',
    'exponential_decay_length_penalty _private pad_token_id pad_token image_token_ids attention_dropout',
    'hidden_dropout_prob dropout dropout_rate embd_pdrop router_aux_loss_coef aux_loss transformers_version',
    'unsloth_fixed transformers_x torch_dtype output_attentions initializer_range',
  ].flatMap((line) => line.split(' '));

  it('pass where they are of no computation', () => {
    const llama = SMALL_CONFIGS['llama'];
    for (const field of HARMLESS)
      expect(parseConfig({...llama, [field]: 7}), field).to.deep.equal(parseConfig(llama));
  });

  const ropes: [string, object, string | null][] = [
    ['notes in a linear scaling', {type: 'linear', factor: 4, finetuned: true}, null],
    ['its original length', {type: 'linear', factor: 4, original_max_position_embeddings: 128}, null],
    ['sections', {type: 'linear', factor: 4, mrope_section: [1, 1, 2]}, 'mrope_section'],
    ['fields of yarn', {type: 'linear', factor: 4, beta_fast: 32}, 'beta_fast'],
    ['an attention factor', {type: 'linear', factor: 4, attention_factor: 1.5}, 'attention_factor'],
    ['a factor without a type', {factor: 4}, 'factor'],
    ['a scaling for each kind of layer', {full_attention: {rope_theta: 1}}, 'full_attention'],
  ];
  for (const [title, rope_scaling, refused] of ropes) {
    it(`of a rope scaling ${refused === null ? 'pass' : 'are refused'}: ${title}`, () => {
      const parse = () => parseConfig({...SMALL_CONFIGS['llama'], rope_scaling});
      if (refused === null) expect(parse()).to.deep.equal(parseConfig(SMALL_CONFIGS['llama']));
      else expect(parse).to.throw(ModelError, `"${refused}"`).with.property('code', 'unknown-field');
    });
  }

  it('rope_parameters and rope_scaling may both be there if they agree', () => {
    const scaling = {type: 'linear', factor: 4};
    const both = (rope_parameters: object) =>
      parseConfig({...SMALL_CONFIGS['llama'], rope_scaling: scaling, rope_parameters});
    expect(both({...scaling}).ropeScaling).to.deep.equal({kind: 'linear', factor: 4});
    expect(() => both({...scaling, factor: 2}))
      .to.throw(ModelError, 'rope_scaling')
      .with.property('code', 'invalid-config');
  });

  it('a window that is absent is that of the family, one that is null is none', () => {
    const {sliding_window: _, ...mistral} = SMALL_CONFIGS['mistral'];
    expect(parseConfig(mistral).slidingWindow).to.equal(4096);
    expect(parseConfig({...mistral, sliding_window: null}).slidingWindow).to.equal(null);
    const qwen = {...SMALL_CONFIGS['qwen2'], use_sliding_window: true, max_window_layers: 0};
    expect(parseConfig(qwen).slidingWindow).to.equal(4096);
    expect(parseConfig({...qwen, sliding_window: null}).slidingWindow).to.equal(null);
    expect(parseConfig(SMALL_CONFIGS['mixtral']).slidingWindow).to.equal(null);
    const {sliding_window: __, ...phi3} = SMALL_CONFIGS['phi3'];
    expect(parseConfig(phi3).slidingWindow).to.equal(null);
  });

  it('layer types are one a layer', () => {
    const qwen = {...SMALL_CONFIGS['qwen2'], use_sliding_window: true, layer_types: ['sliding_attention']};
    expect(() => parseConfig(qwen))
      .to.throw(ModelError, 'layer_types')
      .with.property('code', 'invalid-config');
  });
});
