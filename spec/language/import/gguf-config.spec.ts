import {expect} from 'chai';
import {ggufConfig} from '../../../lib/language/import/gguf-config.js';
import {openGguf} from '../../../lib/language/import/local-checkpoints.js';
import {EMBEDDING, counting, ggufFiles, metadataOf, using} from '../../support/language/gguf-files.js';
import {float32Tensor, type GgufTensorSpec, type GgufValue} from '../../support/language/gguf-writer.js';
import {rejection} from '../../support/rejection.js';

describe('the configuration of a gguf file', () => {
  const write = ggufFiles();
  const configOf = async (
    metadata: Record<string, GgufValue>,
    tensors: readonly GgufTensorSpec[] = [EMBEDDING],
  ) => {
    const checkpoint = await openGguf(write(metadata, tensors));
    await checkpoint.close();
    return checkpoint.config;
  };

  it('reads llama', async () => {
    const tokens = {
      'tokenizer.ggml.bos_token_id': 1,
      'tokenizer.ggml.eos_token_id': 2,
      'tokenizer.ggml.eot_token_id': 5,
    };
    expect(await configOf(metadataOf('llama', tokens))).to.deep.equal({
      ...{
        architecture: 'llama',
        vocabularySize: 16,
        hiddenSize: 6,
        intermediateSize: 10,
        layers: 1,
        heads: 2,
      },
      ...{
        keyHeads: 1,
        headSize: 4,
        normEpsilon: 0.5,
        activation: 'silu',
        ropeTheta: 1234,
        contextLength: 64,
      },
      ...{ropeScaling: {kind: 'none'}, slidingWindow: null, tiedEmbedding: true, queryKeyNorm: false},
      ...{
        bias: {qkv: false, output: false, mlp: false},
        fusedProjections: false,
        embeddingScale: 1,
        experts: null,
      },
      ...{bosTokenId: 1, eosTokenIds: [2, 5]},
    });
  });

  it('reads linear rope scaling, and the window of qwen2', async () => {
    const scaling = {'qwen2.rope.scaling.type': 'linear', 'qwen2.rope.scaling.factor': 4};
    const config = await configOf(metadataOf('qwen2', {...scaling, 'qwen2.attention.sliding_window': 32}));
    expect(config.ropeScaling).to.deep.equal({kind: 'linear', factor: 4});
    expect(config.slidingWindow).to.equal(32);
  });

  it('reads qwen3: norms of query and key heads', async () => {
    const norms = [counting('blk.0.attn_q_norm.weight', [4]), counting('blk.0.attn_k_norm.weight', [4])];
    await using(write(metadataOf('qwen3'), [EMBEDDING, ...norms]), async (checkpoint) => {
      expect(checkpoint.config).to.include({architecture: 'qwen3', queryKeyNorm: true});
      expect([...(await checkpoint.read('model.layers.0.self_attn.q_norm.weight'))]).to.deep.equal([
        0, 1, 2, 3,
      ]);
    });
  });

  it('reads gemma: tanh gelu, scaled embeddings, the 1 of its norms folded in', async () => {
    await using(write(metadataOf('gemma'), [EMBEDDING]), (checkpoint) => {
      expect(checkpoint.config).to.include({activation: 'gelu_tanh', embeddingScale: Math.sqrt(6)});
      expect(checkpoint.normOffset).to.equal(0);
    });
  });

  it('reads phi3: fused projections, short factors of its long rope', async () => {
    const tensors = [
      ...[EMBEDDING, counting('blk.0.attn_qkv.weight', [16, 6]), counting('blk.0.ffn_up.weight', [20, 6])],
      ...[
        float32Tensor('rope_factors_short.weight', [2], [1, 1.5]),
        float32Tensor('rope_factors_long.weight', [2], [3, 4]),
      ],
    ];
    const long = {'phi3.rope.scaling.attn_factor': 1.25, 'phi3.rope.scaling.original_context_length': 32};
    await using(write(metadataOf('phi3', long), tensors), ({config, tensors: named}) => {
      expect(config).to.include({fusedProjections: true, contextLength: 32});
      expect(config.ropeScaling).to.deep.equal({kind: 'factors', factors: [1, 1.5], attentionFactor: 1.25});
      expect([...named.keys()]).to.include.members([
        'model.layers.0.self_attn.qkv_proj.weight',
        'model.layers.0.mlp.gate_up_proj.weight',
      ]);
    });
  });

  for (const merged of [true, false]) {
    it(`reads mixtral with ${merged ? 'merged' : 'split'} experts`, async () => {
      const parts = ['gate', 'down', 'up'];
      const shapes: Record<string, number[]> = {gate: [10, 6], up: [10, 6], down: [6, 10]};
      const experts = parts.flatMap((part) => {
        if (merged) return [counting(`blk.0.ffn_${part}_exps.weight`, [3, ...shapes[part]])];
        return [0, 1, 2].map((expert) => {
          const values = Float32Array.from({length: 60}, (_, i) => 60 * expert + i);
          return float32Tensor(`blk.0.ffn_${part}.${expert}.weight`, shapes[part], values);
        });
      });
      const router = counting('blk.0.ffn_gate_inp.weight', [3, 6]);
      const metadata = metadataOf('llama', {'llama.expert_count': 3, 'llama.expert_used_count': 2});
      await using(write(metadata, [EMBEDDING, router, ...experts]), async (checkpoint) => {
        expect(checkpoint.config.architecture).to.equal('mixtral');
        expect(checkpoint.config.experts).to.deep.equal({count: 3, perToken: 2});
        expect(checkpoint.tensors.get('model.layers.0.block_sparse_moe.gate.weight')?.shape).to.deep.equal([
          3, 6,
        ]);
        for (const [part, name] of [
          ['gate', 'w1'],
          ['down', 'w2'],
          ['up', 'w3'],
        ]) {
          for (const expert of [0, 1, 2]) {
            const tensor = `model.layers.0.block_sparse_moe.experts.${expert}.${name}.weight`;
            expect(checkpoint.tensors.get(tensor)?.shape).to.deep.equal(shapes[part]);
            expect([...(await checkpoint.read(tensor))]).to.deep.equal(
              Array.from({length: 60}, (_, i) => 60 * expert + i),
            );
          }
        }
      });
    });
  }

  for (const [what, metadata, code, text] of [
    ['an unknown architecture', {'general.architecture': 'mamba'}, 'unknown-architecture', 'mamba'],
    ['no architecture', {}, 'unknown-architecture', 'none'],
    ['no hidden size', {'general.architecture': 'llama'}, 'malformed-config', 'llama.embedding_length'],
    ['no heads', metadataOf('llama', {'llama.attention.head_count': 0}), 'malformed-config', 'head_count'],
    [
      'a list of heads',
      metadataOf('llama', {'llama.attention.head_count': [2, 2]}),
      'malformed-config',
      'a list of 2',
    ],
    ['a text for a number', metadataOf('llama', {'llama.block_count': 'many'}), 'malformed-config', 'many'],
    [
      'partly rotated heads',
      metadataOf('llama', {'llama.rope.dimension_count': 2}),
      'malformed-config',
      'rope.dimension_count',
    ],
    [
      'a rope scaling that is not known',
      metadataOf('llama', {'llama.rope.scaling.type': 'yarn'}),
      'malformed-config',
      'yarn',
    ],
    [
      'one of several files',
      metadataOf('llama', {'split.count': 3}),
      'unsupported-format',
      'llama-gguf-split',
    ],
  ] as [string, Record<string, GgufValue>, string, string][]) {
    it(`rejects ${what}`, async () => {
      expect((await rejection(() => configOf(metadata), code)).message).to.contain(text);
    });
  }

  it('rejects a file without embedding, and factors that do not fit the heads', async () => {
    await rejection(() => configOf(metadataOf('llama'), []), 'missing-tensor');
    const factors = float32Tensor('rope_freqs.weight', [3], [1, 2, 3]);
    await rejection(() => configOf(metadataOf('llama'), [EMBEDDING, factors]), 'malformed-config');
    const negative = float32Tensor('rope_freqs.weight', [2], [1, NaN]);
    await rejection(() => configOf(metadataOf('llama'), [EMBEDDING, negative]), 'malformed-config');
  });

  /** The configuration of metadata and shapes alone; keys that are undefined are left out. */
  const parse = (
    name: string,
    more: Record<string, unknown> = {},
    shapes: readonly (readonly [name: string, shape: readonly number[]])[] = [],
    factors: readonly number[] | null = null,
  ) => {
    const own = Object.entries({...metadataOf(name), ...more}).filter(([, value]) => value !== undefined);
    const entries = [['token_embd.weight', [16, 6]] as const, ...shapes].map(([tensor, shape]) => ({
      ...{name: tensor, shape, dtype: 'F32', start: 0, bytes: 4},
    }));
    return ggufConfig(new Map(own), entries, factors === null ? null : Float32Array.from(factors), 'f');
  };

  const token = (key: string) => `tokenizer.ggml.${key}`;
  const llama = (key: string) => `llama.${key}`;
  const CONTROLS = {
    [token('eos_token_id')]: 2,
    [token('eot_token_id')]: 2,
    [token('eom_token_id')]: 7,
    [token('tokens')]: ['<s>', '<|im_end|>', '</s>', '<|end|>', '<end_of_turn>', '<|eot_id|>', 'a'],
    [token('token_type')]: [3, 3, 3, 3, 1, 3, 3],
  };

  for (const [what, name, metadata, shapes, factors, expected] of [
    [
      'as many key heads as heads',
      'llama',
      {[llama('attention.head_count_kv')]: undefined},
      [],
      null,
      {keyHeads: 2},
    ],
    [
      'heads of the size that is rotated',
      'llama',
      {[llama('attention.key_length')]: undefined, [llama('rope.dimension_count')]: 8},
      [],
      null,
      {headSize: 8},
    ],
    [
      'heads that share the hidden size',
      'llama',
      {[llama('attention.key_length')]: undefined, [llama('embedding_length')]: 12},
      [],
      null,
      {headSize: 6, hiddenSize: 12},
    ],
    [
      'the usual base of the rotation',
      'llama',
      {[llama('rope.freq_base')]: undefined},
      [],
      null,
      {ropeTheta: 10_000},
    ],
    [
      'no experts where their count is 0',
      'qwen2',
      {'qwen2.expert_count': 0},
      [],
      null,
      {experts: null, architecture: 'qwen2'},
    ],
    [
      'experts of llama as those of mixtral',
      'llama',
      {[llama('expert_count')]: 4, [llama('expert_used_count')]: 2},
      [],
      null,
      {architecture: 'mixtral', experts: {count: 4, perToken: 2}},
    ],
    [
      'no window where it is 0',
      'qwen2',
      {'qwen2.attention.sliding_window': 0},
      [],
      null,
      {slidingWindow: null},
    ],
    ['a head of its own', 'llama', {}, [['output.weight', [16, 6]]], null, {tiedEmbedding: false}],
    [
      'biases of queries',
      'llama',
      {},
      [['blk.0.attn_q.bias', [8]]],
      null,
      {bias: {qkv: true, output: false, mlp: false}},
    ],
    [
      'biases of queries, keys and values in one',
      'phi3',
      {},
      [['blk.0.attn_qkv.bias', [16]]],
      null,
      {bias: {qkv: true, output: false, mlp: false}, fusedProjections: true},
    ],
    [
      'biases of the output',
      'llama',
      {},
      [['blk.0.attn_output.bias', [6]]],
      null,
      {bias: {qkv: false, output: true, mlp: false}},
    ],
    [
      'biases up',
      'llama',
      {},
      [['blk.0.ffn_up.bias', [10]]],
      null,
      {bias: {qkv: false, output: false, mlp: true}},
    ],
    [
      'biases down',
      'llama',
      {},
      [['blk.0.ffn_down.bias', [6]]],
      null,
      {bias: {qkv: false, output: false, mlp: true}},
    ],
    [
      'ends of turns by key and by name, each once',
      'llama',
      CONTROLS,
      [],
      null,
      {eosTokenIds: [2, 7, 1, 3, 5], bosTokenId: null},
    ],
    [
      'no ends of turns without types of tokens',
      'llama',
      {...CONTROLS, [token('token_type')]: undefined},
      [],
      null,
      {eosTokenIds: [2, 7]},
    ],
    [
      'the whole context without short factors',
      'llama',
      {[llama('rope.scaling.original_context_length')]: 32},
      [],
      null,
      {contextLength: 64},
    ],
    [
      'the whole context where no other is said',
      'phi3',
      {},
      [['rope_factors_short.weight', [2]]],
      [1, 1],
      {contextLength: 64},
    ],
    [
      'no more than the whole context',
      'phi3',
      {'phi3.rope.scaling.original_context_length': 128},
      [['rope_factors_short.weight', [2]]],
      [1, 1],
      {contextLength: 64},
    ],
    [
      'a factor without a type as linear',
      'llama',
      {[llama('rope.scaling.factor')]: 4},
      [],
      null,
      {ropeScaling: {kind: 'linear', factor: 4}},
    ],
    [
      'the older name of the factor',
      'llama',
      {[llama('rope.scale_linear')]: 2},
      [],
      null,
      {ropeScaling: {kind: 'linear', factor: 2}},
    ],
    [
      'the newer name before the older',
      'llama',
      {[llama('rope.scaling.factor')]: 4, [llama('rope.scale_linear')]: 2},
      [],
      null,
      {ropeScaling: {kind: 'linear', factor: 4}},
    ],
    [
      'no scaling where the factor is 0',
      'llama',
      {[llama('rope.scaling.factor')]: 0},
      [],
      null,
      {ropeScaling: {kind: 'none'}},
    ],
    [
      'no scaling of the type none',
      'llama',
      {[llama('rope.scaling.type')]: 'none', [llama('rope.scaling.factor')]: 4},
      [],
      null,
      {ropeScaling: {kind: 'none'}},
    ],
    [
      'an attention factor of any type',
      'llama',
      {[llama('rope.scaling.attn_factor')]: 1.5, [llama('rope.scaling.factor')]: 2},
      [],
      null,
      {ropeScaling: {kind: 'factors', factors: [2, 2], attentionFactor: 1.5}},
    ],
    [
      'factors times the linear one',
      'llama',
      {[llama('rope.scaling.factor')]: 2},
      [],
      [1, 3],
      {ropeScaling: {kind: 'factors', factors: [2, 6], attentionFactor: 1}},
    ],
    [
      'factors of longrope',
      'phi3',
      {'phi3.rope.scaling.type': 'longrope'},
      [],
      [1, 3],
      {ropeScaling: {kind: 'factors', factors: [1, 3], attentionFactor: 1}},
    ],
    ['norms of queries', 'qwen3', {}, [['blk.0.attn_q_norm.weight', [4]]], null, {queryKeyNorm: true}],
  ] as const) {
    it(`has ${what}`, () => {
      expect(parse(name, metadata, shapes, factors)).to.deep.include(expected);
    });
  }

  const architectures = 'llama, qwen2, qwen3, phi3, gemma can be read';
  const rotated = (size: number) => `heads of one even size, all of it rotated (size ${size})`;
  const scalings =
    'none or linear, or longrope with its factors in rope_factors_short.weight: use another checkpoint';
  for (const [name, metadata, factors, code, message] of [
    [
      'llama',
      {'general.architecture': 'toString'},
      null,
      'unknown-architecture',
      `f has architecture "toString"; ${architectures}`,
    ],
    [
      'llama',
      {'general.architecture': 3},
      null,
      'unknown-architecture',
      `f has architecture none; ${architectures}`,
    ],
    [
      'llama',
      {[llama('rope.dimension_count')]: 2},
      null,
      'malformed-config',
      `"llama.rope.dimension_count" of f is 2; it must be ${rotated(4)}`,
    ],
    [
      'llama',
      {[llama('attention.value_length')]: 6},
      null,
      'malformed-config',
      `"llama.rope.dimension_count" of f is missing; it must be ${rotated(4)}`,
    ],
    [
      'llama',
      {[llama('attention.key_length')]: 3},
      null,
      'malformed-config',
      `"llama.rope.dimension_count" of f is missing; it must be ${rotated(3)}`,
    ],
    [
      'qwen2',
      {'qwen2.expert_count': 4},
      null,
      'malformed-config',
      '"qwen2.expert_count" of f is 4; it must be 0 or absent in this family',
    ],
    [
      'llama',
      {[llama('expert_count')]: 4},
      null,
      'malformed-config',
      `"llama.expert_used_count" of f is missing; it must be a whole number from 1 to ${2 ** 31 - 1}`,
    ],
    [
      'llama',
      {[llama('rope.scaling.type')]: 'yarn'},
      null,
      'malformed-config',
      `"llama.rope.scaling.type" of f is yarn; it must be ${scalings}`,
    ],
    [
      'phi3',
      {'phi3.rope.scaling.type': 'longrope'},
      null,
      'malformed-config',
      `"phi3.rope.scaling.type" of f is longrope; it must be ${scalings}`,
    ],
    [
      'phi3',
      {'phi3.rope.scaling.type': 'longrope', 'phi3.rope.scaling.factor': 2},
      [1, 1],
      'malformed-config',
      '"phi3.rope.scaling.factor" of f is 2; it must be 1 or absent beside the factors of longrope',
    ],
    [
      'llama',
      {},
      [1],
      'malformed-config',
      '"llama.rope_freqs.weight" of f is missing; it must be 2 positive factors, one for each pair of a head',
    ],
    [
      'llama',
      {},
      [1, 0],
      'malformed-config',
      '"llama.rope_freqs.weight" of f is missing; it must be 2 positive factors, one for each pair of a head',
    ],
  ] as const) {
    it(`says: ${message.slice(0, 90)}`, async () => {
      const error = await rejection(() => parse(name, metadata, [], factors), code);
      expect(error.message).to.equal(message);
      expect(error.data).to.include({path: 'f'});
    });
  }

  it('says that the embedding is no matrix', async () => {
    const error = await rejection(
      () => ggufConfig(new Map(Object.entries(metadataOf('llama'))), [], null, 'f'),
      'missing-tensor',
    );
    expect(error.message).to.equal('f has no matrix "token_embd.weight": download it again');
    expect(error.data).to.deep.equal({path: 'f', tensor: 'token_embd.weight'});
  });
});
