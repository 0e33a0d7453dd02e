import {expect} from 'chai';
import {ModelError} from '../../../lib/errors.js';
import {rotaryFrequencies} from '../../../lib/language/graph/layers/rotary.js';
import {parseConfig} from '../../../lib/language/config/parse-config.js';

/** The shapes of published models, as their `config.json` gives them, in short. */
const LLAMA_2_7B = {
  model_type: 'llama',
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 32,
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-5,
  hidden_act: 'silu',
  rope_scaling: null,
  tie_word_embeddings: false,
  bos_token_id: 1,
  eos_token_id: 2,
};
const MISTRAL_7B = {
  ...LLAMA_2_7B,
  model_type: 'mistral',
  intermediate_size: 14336,
  num_key_value_heads: 8,
  max_position_embeddings: 32768,
  sliding_window: 4096,
};
const QWEN2_05B = {
  model_type: 'qwen2',
  vocab_size: 151936,
  hidden_size: 896,
  intermediate_size: 4864,
  num_hidden_layers: 24,
  num_attention_heads: 14,
  num_key_value_heads: 2,
  max_position_embeddings: 32768,
  max_window_layers: 24,
  rope_theta: 1000000.0,
  sliding_window: 32768,
  use_sliding_window: false,
  tie_word_embeddings: true,
};
const PHI3_MINI_128K = {
  ...LLAMA_2_7B,
  model_type: 'phi3',
  hidden_size: 3072,
  intermediate_size: 8192,
  max_position_embeddings: 131072,
  original_max_position_embeddings: 4096,
  sliding_window: 262144,
  rope_scaling: {
    type: 'longrope',
    short_factor: Array.from({length: 48}, () => 1.05),
    long_factor: Array.from({length: 48}, (_, i) => 1 + i),
  },
};
const GEMMA_2B = {
  model_type: 'gemma',
  vocab_size: 256000,
  hidden_size: 2048,
  intermediate_size: 16384,
  num_hidden_layers: 18,
  num_attention_heads: 8,
  num_key_value_heads: 1,
  head_dim: 256,
  hidden_act: 'gelu',
};
const LLAMA3_ROPE = {
  factor: 8.0,
  low_freq_factor: 1.0,
  high_freq_factor: 4.0,
  original_max_position_embeddings: 8192,
};

describe('parseConfig', () => {
  it('reads Llama 2', () => {
    expect(parseConfig(LLAMA_2_7B)).to.deep.equal({
      architecture: 'llama',
      vocabularySize: 32000,
      hiddenSize: 4096,
      intermediateSize: 11008,
      layers: 32,
      heads: 32,
      keyHeads: 32,
      headSize: 128,
      normEpsilon: 1e-5,
      activation: 'silu',
      ropeTheta: 10000,
      ropeScaling: {kind: 'none'},
      contextLength: 4096,
      slidingWindow: null,
      tiedEmbedding: false,
      bias: {qkv: false, output: false, mlp: false},
      queryKeyNorm: false,
      fusedProjections: false,
      embeddingScale: 1,
      experts: null,
      bosTokenId: 1,
      eosTokenIds: [2],
    });
  });

  const fields: [string, object, object][] = [
    [
      'as many key heads as heads where llama names none',
      {...LLAMA_2_7B, num_key_value_heads: null},
      {keyHeads: 32},
    ],
    ['head_dim null as hidden size by heads', {...LLAMA_2_7B, head_dim: null}, {headSize: 128}],
    ['head_dim of its own', {...LLAMA_2_7B, head_dim: 64}, {headSize: 64}],
    ['several ends', {...LLAMA_2_7B, eos_token_id: [128001, 128009]}, {eosTokenIds: [128001, 128009]}],
    ['no ends', {...LLAMA_2_7B, eos_token_id: null, bos_token_id: null}, {eosTokenIds: [], bosTokenId: null}],
    [
      'biases of llama',
      {...LLAMA_2_7B, attention_bias: true, mlp_bias: true},
      {bias: {qkv: true, output: true, mlp: true}},
    ],
    ['rope_theta', {...LLAMA_2_7B, rope_theta: 500000}, {ropeTheta: 500000}],
    [
      'rope_parameters, which newer files have',
      {...LLAMA_2_7B, rope_parameters: {rope_type: 'default', rope_theta: 250000}},
      {ropeTheta: 250000, ropeScaling: {kind: 'none'}},
    ],
    [
      'linear scaling by its old name',
      {...LLAMA_2_7B, rope_scaling: {type: 'linear', factor: 2}},
      {ropeScaling: {kind: 'linear', factor: 2}},
    ],
    ...(['rope_scaling', 'rope_parameters'] as const).map((field): [string, object, object] => [
      `llama3 scaling in ${field}`,
      {...LLAMA_2_7B, rope_theta: 500000, [field]: {rope_type: 'llama3', ...LLAMA3_ROPE}},
      {
        ropeTheta: 500000,
        ropeScaling: {
          kind: 'llama3',
          factor: 8,
          lowFrequencyFactor: 1,
          highFrequencyFactor: 4,
          originalContextLength: 8192,
        },
      },
    ]),
    ['the window of mistral', MISTRAL_7B, {slidingWindow: 4096, keyHeads: 8}],
    ['mistral without a window', {...MISTRAL_7B, sliding_window: null}, {slidingWindow: null}],
    [
      'mixtral',
      {
        ...MISTRAL_7B,
        model_type: 'mixtral',
        num_local_experts: 8,
        num_experts_per_tok: 2,
        sliding_window: null,
      },
      {experts: {count: 8, perToken: 2}, slidingWindow: null},
    ],
    [
      'qwen2: biases of q, k, v, and a window that is switched off',
      QWEN2_05B,
      {bias: {qkv: true, output: false, mlp: false}, slidingWindow: null, headSize: 64, tiedEmbedding: true},
    ],
    [
      'qwen2 with the window in all layers',
      {...QWEN2_05B, use_sliding_window: true, max_window_layers: 0},
      {slidingWindow: 32768},
    ],
    [
      'qwen2 with the window in no layer',
      {...QWEN2_05B, use_sliding_window: true, max_window_layers: 28},
      {slidingWindow: null},
    ],
    [
      'qwen2 with layer_types',
      {
        ...QWEN2_05B,
        use_sliding_window: true,
        layer_types: Array.from({length: 24}, () => 'sliding_attention'),
      },
      {slidingWindow: 32768},
    ],
    [
      'qwen3: norms of query and key heads of 128',
      {...QWEN2_05B, model_type: 'qwen3'},
      {queryKeyNorm: true, headSize: 128, bias: {qkv: false, output: false, mlp: false}},
    ],
    [
      'phi3: fused, short factors up to the original context',
      PHI3_MINI_128K,
      {
        fusedProjections: true,
        contextLength: 4096,
        ropeScaling: {
          kind: 'factors',
          factors: Array.from({length: 48}, () => 1.05),
          // sqrt(1 + ln(131072 / 4096) / ln(4096)) = sqrt(1 + 5 / 12)
          attentionFactor: Math.sqrt(17 / 12),
        },
      },
    ],
    [
      'gemma: scaled and tied embeddings, the tanh approximation though its file says gelu',
      GEMMA_2B,
      {activation: 'gelu_tanh', embeddingScale: Math.sqrt(2048), tiedEmbedding: true, headSize: 256},
    ],
    ['gemma with hidden_activation', {...GEMMA_2B, hidden_activation: 'gelu'}, {activation: 'gelu'}],
  ];
  for (const [title, json, expected] of fields) {
    it(`reads ${title}`, () => {
      expect(parseConfig(json)).to.deep.include(expected);
    });
  }

  it('takes the long factors of phi3 for a longer context', () => {
    const config = parseConfig(PHI3_MINI_128K, {contextLength: 4097});
    expect(config.contextLength).to.equal(131072);
    expect(config.ropeScaling).to.deep.include({factors: Array.from({length: 48}, (_, i) => 1 + i)});
  });

  const {original_max_position_embeddings: _, ...PHI3_WITHOUT_LENGTH} = PHI3_MINI_128K;
  const longrope = (fields: object, more: object = {}) => ({
    ...PHI3_WITHOUT_LENGTH,
    ...more,
    rope_scaling: {...PHI3_MINI_128K.rope_scaling, ...fields},
  });
  // transformers, _compute_longrope_parameters: sqrt(1 + ln(stretch) / ln(original)).
  const stretches: [string, object, number][] = [
    [
      'its own attention factor',
      longrope({attention_factor: 1.5}, {original_max_position_embeddings: 4096}),
      1.5,
    ],
    [
      'the length of config.json, whose stretch beats the factor',
      longrope({factor: 4}, {original_max_position_embeddings: 4096}),
      Math.sqrt(17 / 12),
    ],
    [
      'its own length and factor',
      longrope({original_max_position_embeddings: 4096, factor: 4}),
      Math.sqrt(7 / 6),
    ],
    [
      'its own length without a factor',
      longrope({original_max_position_embeddings: 4096}),
      Math.sqrt(17 / 12),
    ],
    ['a factor below 1', longrope({original_max_position_embeddings: 4096, factor: 0.5}), 1],
    ['a factor of 1', longrope({original_max_position_embeddings: 4096, factor: 1}), 1],
    [
      'its own length before that of config.json',
      longrope({original_max_position_embeddings: 1024}, {original_max_position_embeddings: 4096}),
      Math.sqrt(1 + 7 / 10),
    ],
    ['its old name', longrope({type: 'su', original_max_position_embeddings: 4096}), Math.sqrt(17 / 12)],
  ];
  for (const [title, json, attentionFactor] of stretches) {
    it(`reads longrope with ${title}`, () => {
      const {ropeScaling} = parseConfig(json);
      expect(ropeScaling).to.have.property('kind', 'factors');
      expect(ropeScaling).to.have.property('attentionFactor').that.is.closeTo(attentionFactor, 1e-12);
    });
  }

  it('takes the short factors up to the original length, and no longer context than that', () => {
    const json = longrope({original_max_position_embeddings: 4096});
    for (const [contextLength, length, first] of [
      [undefined, 4096, 1.05],
      [4096, 4096, 1.05],
      [4097, 131072, 1],
    ] as const) {
      const config = parseConfig(json, {contextLength});
      expect(config.contextLength).to.equal(length);
      expect(config.ropeScaling).to.have.nested.property('factors[0]', first);
    }
    expect(
      parseConfig(longrope({original_max_position_embeddings: 4096}, {max_position_embeddings: 2048}))
        .contextLength,
    ).to.equal(2048);
  });

  const errors: [string, unknown, string, RegExp][] = [
    [
      'llama3 scaling with two equal factors',
      {...LLAMA_2_7B, rope_scaling: {rope_type: 'llama3', ...LLAMA3_ROPE, high_freq_factor: 1}},
      'invalid-config',
      /"high_freq_factor" is 1; it must be greater than low_freq_factor, 1/,
    ],
    ['longrope without a length', longrope({}), 'invalid-config', /original_max_position_embeddings/],
    ['no object', [], 'invalid-config', /no object/],
    [
      'a missing field',
      {...LLAMA_2_7B, hidden_size: undefined},
      'invalid-config',
      /"hidden_size" is missing/,
    ],
    ['text for a number', {...LLAMA_2_7B, vocab_size: '32000'}, 'invalid-config', /"vocab_size" is "32000"/],
    ['a fraction', {...LLAMA_2_7B, num_hidden_layers: 1.5}, 'invalid-config', /"num_hidden_layers" is 1\.5/],
    ['an absurd size', {...LLAMA_2_7B, hidden_size: 1e12}, 'invalid-config', /from 1 to 1048576/],
    ['a negative count', {...LLAMA_2_7B, num_attention_heads: -1}, 'invalid-config', /num_attention_heads/],
    ['an odd head', {...LLAMA_2_7B, head_dim: 65}, 'invalid-config', /even/],
    [
      'heads that do not divide',
      {...LLAMA_2_7B, hidden_size: 4097},
      'invalid-config',
      /128\.03125 elements; it must be an even number \(hidden size 4097, 32 heads\)/,
    ],
    [
      'key heads that do not divide',
      {...LLAMA_2_7B, num_key_value_heads: 5},
      'invalid-config',
      /5 key heads/,
    ],
    [
      'a matrix beyond any array',
      {...LLAMA_2_7B, hidden_size: 2 ** 20, vocab_size: 2 ** 22, head_dim: 128},
      'invalid-config',
      /2\^32/,
    ],
    ['epsilon 0', {...LLAMA_2_7B, rms_norm_eps: 0}, 'invalid-config', /rms_norm_eps/],
    ['a bad end', {...LLAMA_2_7B, eos_token_id: ['</s>']}, 'invalid-config', /eos_token_id/],
    [
      'another activation',
      {...LLAMA_2_7B, hidden_act: 'relu'},
      'invalid-config',
      /"relu"; it must be one of "silu"/,
    ],
    [
      'another architecture',
      {...LLAMA_2_7B, model_type: 'gpt2'},
      'unknown-architecture',
      /"gpt2"; supported are llama, mistral/,
    ],
    ['no architecture', {...LLAMA_2_7B, model_type: undefined}, 'unknown-architecture', /missing/],
    [
      'another rope scaling',
      {...LLAMA_2_7B, rope_scaling: {type: 'yarn', factor: 2}},
      'unsupported-rope',
      /"yarn"/,
    ],
    ['partial rotation', {...PHI3_MINI_128K, partial_rotary_factor: 0.75}, 'unsupported-rope', /75 %/],
    [
      'factors of the wrong number',
      {...PHI3_MINI_128K, rope_scaling: {...PHI3_MINI_128K.rope_scaling, short_factor: [1, 2]}},
      'invalid-config',
      /"short_factor" is \[1,2\]; it must be a list of 48 numbers/,
    ],
    [
      'a scaling without its factor',
      {...LLAMA_2_7B, rope_scaling: {type: 'linear'}},
      'invalid-config',
      /rope_scaling: "factor" is missing/,
    ],
    [
      'a window in some layers only',
      {...QWEN2_05B, use_sliding_window: true, max_window_layers: 12},
      'unsupported-attention',
      /12 of 24 layers/,
    ],
    [
      'more experts a token than there are',
      {...MISTRAL_7B, model_type: 'mixtral', num_local_experts: 2, num_experts_per_tok: 3},
      'invalid-config',
      /3 of 2 experts/,
    ],
  ];
  for (const [title, json, code, message] of errors) {
    it(`refuses ${title}`, () => {
      const thrown = () => parseConfig(json);
      expect(thrown).to.throw(ModelError, message).with.property('code', code);
    });
  }
});

describe('rotaryFrequencies', () => {
  it('are powers of theta, and llama3 scaling keeps the high ones and divides the low ones', () => {
    const plain = rotaryFrequencies(parseConfig({...LLAMA_2_7B, rope_theta: 500000}));
    const scaled = rotaryFrequencies(
      parseConfig({...LLAMA_2_7B, rope_theta: 500000, rope_scaling: {rope_type: 'llama3', ...LLAMA3_ROPE}}),
    );
    expect(plain.length).to.equal(64);
    expect(plain[1]).to.be.closeTo(500000 ** (-1 / 64), 1e-7);
    plain.forEach((frequency, i) => {
      const wavelength = (2 * Math.PI) / frequency;
      if (wavelength < 8192 / 4) expect(scaled[i]).to.equal(frequency);
      else if (wavelength > 8192) expect(scaled[i] * 8).to.be.closeTo(frequency, frequency * 1e-6);
      else expect(scaled[i]).to.be.within(frequency / 8, frequency);
    });
  });
});
