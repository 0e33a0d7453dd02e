import {expect} from 'chai';
import {openGguf} from '../../../lib/language/import/gguf.js';
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
});
