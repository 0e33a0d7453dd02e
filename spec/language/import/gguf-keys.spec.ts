import {expect} from 'chai';
import type {RopeScaling} from '../../../lib/language/config/llama-config.js';
import {checkKeys} from '../../../lib/language/import/gguf-keys.js';
import {openGguf} from '../../../lib/language/import/local-checkpoints.js';
import {checkedPlan} from '../../../lib/language/weights/load-weights.js';
import {EMBEDDING, counting, ggufFiles, metadataOf} from '../../support/language/gguf-files.js';
import {float32Tensor, type GgufTensorSpec, type GgufValue} from '../../support/language/gguf-writer.js';
import {smallConfigs} from '../../support/language/random-checkpoint.js';
import {rejection} from '../../support/rejection.js';

describe('metadata of a gguf file that changes the computation', () => {
  const write = ggufFiles();
  const open = async (
    more: Record<string, GgufValue>,
    {architecture = 'llama', tensors = []}: {architecture?: string; tensors?: readonly GgufTensorSpec[]} = {},
  ) => {
    const named = Object.entries(more).map(([key, value]) => [key.replace(/^\./, `${architecture}.`), value]);
    const metadata = metadataOf(architecture, Object.fromEntries(named) as Record<string, GgufValue>);
    const checkpoint = await openGguf(write(metadata, [EMBEDDING, ...tensors]));
    await checkpoint.close();
    return checkpoint;
  };

  const FREQS = float32Tensor('rope_freqs.weight', [2], [1, 8]);
  const SHORT = float32Tensor('rope_factors_short.weight', [2], [1, 1.5]);
  const factors = (of: number[], attentionFactor = 1): RopeScaling => ({
    kind: 'factors',
    factors: of,
    attentionFactor,
  });
  // What llama.cpp makes of these keys (llama_model::load_hparams, get_rope_factors).
  const scalings: [string, Record<string, GgufValue>, GgufTensorSpec[], RopeScaling][] = [
    ['none of the keys', {}, [], {kind: 'none'}],
    ['a factor without a type', {'.rope.scaling.factor': 4}, [], {kind: 'linear', factor: 4}],
    ['the old name of the factor', {'.rope.scale_linear': 4}, [], {kind: 'linear', factor: 4}],
    [
      'both names of the factor',
      {'.rope.scaling.factor': 2, '.rope.scale_linear': 4},
      [],
      {kind: 'linear', factor: 2},
    ],
    [
      'a factor of 0, which hides the old name',
      {'.rope.scaling.factor': 0, '.rope.scale_linear': 4},
      [],
      {kind: 'none'},
    ],
    [
      'type none with a factor',
      {'.rope.scaling.type': 'none', '.rope.scaling.factor': 4},
      [],
      {kind: 'none'},
    ],
    ['type linear without a factor', {'.rope.scaling.type': 'linear'}, [], {kind: 'none'}],
    ['factors of a tensor', {}, [FREQS], factors([1, 8])],
    ['factors of a tensor and a linear one', {'.rope.scaling.factor': 4}, [FREQS], factors([4, 32])],
    [
      'factors of a tensor, type none',
      {'.rope.scaling.type': 'none', '.rope.scaling.factor': 4},
      [FREQS],
      factors([1, 8]),
    ],
    ['longrope', {'.rope.scaling.type': 'longrope'}, [SHORT], factors([1, 1.5])],
    ['an attention factor alone', {'.rope.scaling.attn_factor': 1.25}, [], factors([1, 1], 1.25)],
    [
      'an attention factor and a linear one',
      {'.rope.scaling.attn_factor': 1.25, '.rope.scaling.factor': 4},
      [],
      factors([4, 4], 1.25),
    ],
  ];
  for (const [what, metadata, tensors, scaling] of scalings) {
    it(`scales the rotation by ${what}`, async () => {
      expect((await open(metadata, {tensors})).config.ropeScaling).to.deep.equal(scaling);
    });
  }

  for (const [what, metadata, tensors] of [
    ['longrope without its factors', {'.rope.scaling.type': 'longrope'}, []],
    ['longrope with a factor', {'.rope.scaling.type': 'longrope', '.rope.scaling.factor': 4}, [SHORT]],
    ['a negative factor', {'.rope.scaling.factor': -4.5}, []],
    ['an endless factor', {'.rope.scale_linear': Infinity}, []],
    ['a factor that is a text', {'.rope.scaling.factor': '4'}, []],
    ['an attention factor of 0', {'.rope.scaling.attn_factor': 0}, []],
  ] as [string, Record<string, GgufValue>, GgufTensorSpec[]][]) {
    it(`rejects ${what}`, () => rejection(() => open(metadata, {tensors}), 'malformed-config'));
  }

  const [changing, neutral]: Record<string, GgufValue[]>[] = [
    {
      '.attention.scale': [0.25],
      '.logit_scale': [0.5],
      '.residual_scale': [0.22],
      '.embedding_scale': [12],
      '.attn_logit_softcapping': [50],
      '.final_logit_softcapping': [30],
      '.attention.clamp_kqv': [8],
      '.attention.max_alibi_bias': [8],
      '.attention.causal': [false],
      '.use_parallel_residual': [true],
      '.rope.freq_base_swa': [10000],
      '.rope.scaling.alpha': [1000],
      '.rope.scaling.yarn_ext_factor': [1],
      '.rope.scaling.yarn_attn_factor': [1.5],
      '.rope.dimension_sections': [[1, 1]],
      '.expert_shared_count': [1],
      '.expert_feed_forward_length': [12],
      '.expert_gating_func': [2],
      '.hidden_activation': ['relu'],
      '.tensor_data_layout': ['jploski'],
      '.leading_dense_block_count': [1],
      '.classifier.output_labels': [['yes', 'no']],
      '.some_key_of_next_year': [1, 0, false],
      'xielu.beta': [0.5],
      'adapter.lora.alpha': [16],
      'tokenizer.ggml.add_sep_token': [true],
      'tokenizer.ggml.remove_extra_whitespaces': [true],
      'tokenizer.ggml.normalizer.lowercase': [true],
      'tokenizer.ggml.precompiled_charsmap': [[1, 2]],
      'tokenizer.ggml.suppress_tokens': [[1]],
      'tokenizer.ggml.some_key_of_next_year': [1],
    },
    {
      '.vocab_size': [32000],
      '.rope.scaling.finetuned': [true],
      '.rope.scaling.original_context_length': [4096],
      '.rope.scaling.yarn_log_multiplier': [0.1],
      '.pooling_type': [3],
      '.attention.scale': [0, 0.5],
      '.logit_scale': [0, 1],
      '.final_logit_softcapping': [0],
      '.attention.causal': [true],
      '.rope.freq_base_swa': [1234],
      '.expert_count': [0],
      '.expert_used_count': [0],
      '.expert_feed_forward_length': [0, 10],
      '.attention.sliding_window_pattern': [6],
      '.hidden_activation': ['silu'],
      '.tensor_data_layout': ['Meta AI original pth'],
      'general.sampling.temp': [0.6],
      'general.type': ['model'],
      'general.some_key_of_next_year': [1],
      'quantize.imatrix.entries_count': [224],
      'tokenizer.chat_template.tool_use': ['x'],
      'tokenizer.chat_templates': [['tool_use']],
      'tokenizer.ggml.fim_pre_token_id': [3],
      'tokenizer.ggml.seperator_token_id': [3],
      'tokenizer.ggml.token_type_count': [2],
      'tokenizer.ggml.remove_extra_whitespaces': [false],
      'tokenizer.ggml.precompiled_charsmap': [[]],
    },
  ];
  for (const [key, values] of Object.entries(changing)) {
    for (const value of values) {
      it(`rejects ${key} = ${JSON.stringify(value)}`, async () => {
        const {message} = await rejection(() => open({[key]: value}), 'unknown-metadata');
        expect(message)
          .to.contain(`"${key.replace(/^\./, 'llama.')}"`)
          .and.contain('gguf-new-metadata');
      });
    }
  }
  for (const [key, values] of Object.entries(neutral)) {
    for (const value of values) {
      it(`passes ${key} = ${JSON.stringify(value)}`, async () => {
        expect((await open({[key]: value})).config).to.deep.equal((await open({})).config);
      });
    }
  }

  it('rejects a window of some layers only, and experts where the family has none', async () => {
    const window = {'.attention.sliding_window': 32};
    const patterned = {...window, '.attention.sliding_window_pattern': 6};
    await rejection(() => open(patterned, {architecture: 'qwen2'}), 'unknown-metadata');
    const all = {...window, '.attention.sliding_window_pattern': true};
    expect((await open(all, {architecture: 'qwen2'})).config.slidingWindow).to.equal(32);
    const experts = {'.expert_count': 4, '.expert_used_count': 2};
    await rejection(() => open(experts, {architecture: 'qwen2'}), 'malformed-config');
  });

  it('reads keys of its own architecture only', async () => {
    expect((await open({'qwen2.rope.scaling.factor': 4})).config.ropeScaling).to.deep.equal({kind: 'none'});
  });

  for (const type of ['adapter', 'mmproj', 'imatrix']) {
    it(`rejects a file of type ${type}`, async () => {
      const {message} = await rejection(() => open({'general.type': type}), 'unsupported-format');
      expect(message).to.contain(type).and.contain('general.type');
    });
  }

  for (const name of [
    ...['output.bias', 'output_norm.bias', 'token_embd_norm.weight', 'blk.0.attn_q.scale'],
    ...['blk.0.attn_sinks.weight', 'blk.0.post_attention_norm.weight', 'blk.0.ffn_gate_shexp.weight'],
    ...['cls.output.weight', 'blk.0.exp_probs_b.bias', 'blk.0.ffn_act.0.weight'],
  ]) {
    it(`keeps the tensor ${name}, which loading then rejects`, async () => {
      const layer = [
        ...[counting('output_norm.weight', [6]), counting('blk.0.attn_norm.weight', [6])],
        ...[counting('blk.0.attn_q.weight', [8, 6]), counting('blk.0.attn_k.weight', [4, 6])],
        ...[counting('blk.0.attn_v.weight', [4, 6]), counting('blk.0.attn_output.weight', [6, 8])],
        ...[counting('blk.0.ffn_norm.weight', [6]), counting('blk.0.ffn_gate.weight', [10, 6])],
        ...[counting('blk.0.ffn_up.weight', [10, 6]), counting('blk.0.ffn_down.weight', [6, 10])],
        counting('blk.0.attn_rot_embd.weight', [2]),
      ];
      expect(checkedPlan(await open({}, {tensors: layer}))).to.have.length(11);
      const more = await open({}, {tensors: [...layer, counting(name, [6])]});
      const {message} = await rejection(() => checkedPlan(more), 'unexpected-tensor');
      expect(message).to.contain(name);
    });
  }
});

/** Keys of an architecture and the values at which they change nothing, for heads of size 8 and 56 inner units. */
const NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  ...{'attention.scale': [0, Math.fround(1 / Math.sqrt(8))], 'attention.output_scale': [0, 1]},
  ...{
    'attention.value_scale': [0, 1],
    logit_scale: [0, 1],
    residual_scale: [0, 1],
    embedding_scale: [0, 1, 1],
  },
  ...{'attention.temperature_length': [0], 'attention.temperature_scale': [0], attn_logit_softcapping: [0]},
  ...{final_logit_softcapping: [0], router_logit_softcapping: [0], 'attention.clamp_kqv': [0]},
  ...{'attention.max_alibi_bias': [0], swiglu_clamp_exp: [0], swiglu_clamp_shexp: [0]},
  ...{'attention.causal': [true], use_parallel_residual: [false], hidden_activation: ['silu', 'swish']},
  ...{
    leading_dense_block_count: [0],
    nextn_predict_layers: [0],
    n_deepstack_layers: [0],
    decoder_block_count: [0],
  },
  ...{'attention.shared_kv_layers': [0], full_attention_interval: [0, 1], interleave_moe_layer_step: [0, 1]},
  ...{moe_every_n_layers: [0, 1], 'attention.q_lora_rank': [0], 'attention.kv_lora_rank': [0]},
  ...{'attention.key_length_swa': [8], 'attention.value_length_swa': [8], expert_used_count: [0]},
  ...{expert_feed_forward_length: [0, 56], expert_shared_feed_forward_length: [0], expert_shared_count: [0]},
  ...{expert_group_count: [0, 1], expert_group_used_count: [0, 1], expert_group_scale: [0, 1]},
  ...{
    expert_weights_scale: [0, 1],
    expert_weights_norm: [true],
    expert_gating_func: [0, 1],
    experts_per_group: [0],
  },
  ...{'rope.freq_base_swa': [10_000], 'rope.dimension_count_swa': [8], 'rope.scaling.alpha': [0]},
  ...{'rope.scaling.yarn_ext_factor': [0, -1], 'rope.scaling.yarn_attn_factor': [1, -1]},
  ...{tensor_data_layout: ['reference', 'Meta AI original pth']},
};
const TOKENIZER_NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  ...{
    'ggml.add_sep_token': [false],
    'ggml.remove_extra_whitespaces': [false],
    'ggml.escape_whitespaces': [true],
  },
  ...{'ggml.treat_whitespace_as_suffix': [false], 'ggml.normalizer.lowercase': [false]},
  ...{'ggml.normalizer.strip_accents': [false]},
};

describe('checkKeys', () => {
  const keys = (more: Record<string, unknown>, read: readonly string[] = [], change: object = {}) =>
    checkKeys(
      new Map(Object.entries({'general.architecture': 'llama', ...more})),
      new Set(read),
      {...smallConfigs().get('llama')!, ...change},
      'f',
    );
  const refusal = (key: string, shown: string, what: string) =>
    `"${key}" of f is ${shown}, which ${what}: leaving it out could change the results. Use the Hugging Face folder of ` +
    'this model; or, if you know that the key changes nothing, take it out with `gguf-new-metadata --remove-metadata` ' +
    '(Python package gguf)';

  for (const [prefix, table] of [
    ['llama.', NEUTRAL],
    ['tokenizer.', TOKENIZER_NEUTRAL],
  ] as const) {
    for (const [own, values] of Object.entries(table)) {
      it(`passes ${prefix}${own} where it changes nothing, and nowhere else`, async () => {
        const key = prefix + own;
        for (const value of values) {
          keys({[key]: value});
          keys({[key]: [value, value]});
          if (Number.isInteger(value)) keys({[key]: BigInt(value as number)});
        }
        keys({[key]: []});
        for (const other of [typeof values[0] === 'boolean' ? !values[0] : 7.5, [values[0], 'x']]) {
          const error = await rejection(() => keys({[key]: other}), 'unknown-metadata');
          const allowed = values.map((one) => JSON.stringify(one)).join(' or ');
          expect(error.message).to.equal(refusal(key, JSON.stringify(other), `can be ${allowed} only`));
          expect(error.data).to.deep.equal({path: 'f', key, value: other});
        }
      });
    }
  }

  for (const key of [
    ...[
      'llama.next_year',
      'llama.toString',
      'tokenizer.ggml.next_year',
      'tokenizer.toString',
      'adapter.lora',
    ],
    ...['clip.vision', 'xielu.beta', 'controlvector.layer', 'tokenizer.ggml.suppress_tokens'],
    ...['tokenizer.ggml.precompiled_charsmap', 'tokenizer.xggml.bos_token_id', 'tokenizer.chat_templatesx'],
  ]) {
    it(`does not understand ${key}`, async () => {
      const error = await rejection(() => keys({[key]: 1}), 'unknown-metadata');
      expect(error.message).to.equal(refusal(key, '1', 'is not understood here'));
    });
  }

  it('shows whole numbers of 64 bits, and long keys and values in short', async () => {
    const wide = await rejection(() => keys({'llama.x': [2n, 3n]}), 'unknown-metadata');
    expect(wide.message).to.include('"llama.x" of f is [2,3], which');
    const long = await rejection(
      () => keys({[`llama.${'k'.repeat(300)}`]: 'v'.repeat(300)}),
      'unknown-metadata',
    );
    expect(long.message).to.include(`"llama.${'k'.repeat(194)}" of f is "${'v'.repeat(79)}, which`);
  });

  it('passes what is read, what is of no computation, and what is of another architecture', () => {
    keys({'llama.block_count': 7}, ['block_count']);
    keys({
      'qwen2.next_year': 7,
      'general.next_year': 7,
      'llamas.next_year': 7,
      'xtokenizer.y': 7,
      'x.clip.y': 7,
    });
    for (const own of [
      ...['vocab_size', 'pooling_type', 'decoder_start_token_id', 'rope.scaling.finetuned'],
      ...['rope.scaling.original_context_length', 'rope.scaling.yarn_log_multiplier'],
      ...['rope.scaling.yarn_beta_fast', 'rope.scaling.yarn_beta_slow'],
    ])
      keys({[`llama.${own}`]: 7});
    for (const own of [
      ...['ggml.model', 'ggml.pre', 'ggml.tokens', 'ggml.token_type', 'ggml.scores', 'ggml.merges'],
      ...['ggml.token_type_count', 'ggml.add_bos_token', 'ggml.add_eos_token', 'ggml.add_space_prefix'],
      ...['huggingface.json', 'rwkv.world', 'ggml.bos_token_id', 'ggml.eog_token_ids', 'chat_template'],
      ...['chat_templates', 'chat_template.rag'],
    ])
      keys({[`tokenizer.${own}`]: 7});
  });

  it('passes a pattern of windows where there is no window, or all layers have it', async () => {
    const key = 'llama.attention.sliding_window_pattern';
    keys({[key]: 6});
    for (const pattern of [0, true, [true, true]]) keys({[key]: pattern}, [], {slidingWindow: 8});
    await rejection(() => keys({[key]: 6}, [], {slidingWindow: 8}), 'unknown-metadata');
  });

  it('knows the names of activations', async () => {
    const key = 'llama.hidden_activation';
    for (const [activation, names] of [
      ['silu', ['silu', 'swish']],
      ['gelu', ['gelu']],
      ['gelu_tanh', ['gelu', 'gelu_tanh', 'gelu_pytorch_tanh']],
    ] as const) {
      for (const name of names) keys({[key]: name}, [], {activation});
      await rejection(() => keys({[key]: 'relu'}, [], {activation}), 'unknown-metadata');
    }
    await rejection(() => keys({[key]: 'gelu_tanh'}, [], {activation: 'gelu'}), 'unknown-metadata');
  });

  it('says that a file is no model', async () => {
    const error = await rejection(() => keys({'general.type': 'mmproj'}), 'unsupported-format');
    expect(error.message).to.equal(
      'f holds "mmproj" ("general.type"), no model: name the file of the model itself',
    );
    expect(error.data).to.deep.equal({path: 'f', type: 'mmproj'});
  });
});
