import {expect} from 'chai';
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {gguf as parseHeader} from '@huggingface/gguf';
import type {Checkpoint} from '../../../models/llama/checkpoint.js';
import {openGguf} from '../../../models/llama/import/gguf.js';
import {openHuggingFaceFolder} from '../../../models/llama/import/huggingface-folder.js';
import {float32Tensor, GGML_TYPE, writeGguf, type GgufTensorSpec, type GgufValue} from './gguf-writer.js';
import {rejection} from './rejection.js';
import {temporaryFolder} from './temporary-folder.js';

const TINY = fileURLToPath(new URL('../../fixtures/tiny/', import.meta.url));

/** Metadata of a model with 2 heads of size 4, 1 key head, hidden size 6, one layer. */
function metadataOf(architecture: string, more: Record<string, GgufValue> = {}): Record<string, GgufValue> {
  const sizes = {
    ...{context_length: 64, embedding_length: 6, block_count: 1, feed_forward_length: 10},
    ...{'attention.head_count': 2, 'attention.head_count_kv': 1, 'attention.key_length': 4},
    ...{'attention.layer_norm_rms_epsilon': 0.5, 'rope.freq_base': 1234},
  };
  const own = Object.entries(sizes).map(([key, value]) => [`${architecture}.${key}`, value] as const);
  return {'general.architecture': architecture, ...Object.fromEntries(own), ...more};
}

/** Values 0, 1, 2 … so that every row can be told. */
function counting(name: string, shape: readonly number[]): GgufTensorSpec {
  const count = shape.reduce((product, size) => product * size, 1);
  return float32Tensor(
    name,
    shape,
    Float32Array.from({length: count}, (_, i) => i),
  );
}

const EMBEDDING = counting('token_embd.weight', [16, 6]);

describe('gguf', () => {
  const folder = temporaryFolder();
  let count = 0;
  const write = (metadata: Record<string, GgufValue>, tensors: readonly GgufTensorSpec[]) =>
    folder.write(`${count++}.gguf`, writeGguf(metadata, tensors));
  const using = async (path: string, use: (checkpoint: Checkpoint) => unknown) => {
    const checkpoint = await openGguf(path);
    try {
      await use(checkpoint);
    } finally {
      await checkpoint.close();
    }
  };

  for (const name of ['llama3-gqa-rope', 'qwen2-bias']) {
    it(`reads the weights of ${name} bit for bit as in its safetensors`, async () => {
      const wanted = await openHuggingFaceFolder(join(TINY, name));
      await using(join(TINY, name, 'model-f32.gguf'), async (got) => {
        expect([...got.tensors.keys()]).to.have.members([...wanted.tensors.keys()]);
        for (const [tensor, {shape}] of wanted.tensors) {
          expect(got.tensors.get(tensor)?.shape).to.deep.equal(shape);
          const bits = async (checkpoint: Checkpoint) =>
            new Uint32Array((await checkpoint.read(tensor)).buffer);
          expect(await bits(got), tensor).to.deep.equal(await bits(wanted));
        }
      });
      await wanted.close();
    });

    it(`reads the configuration of ${name} as in its config.json, but for the rope scaling`, async () => {
      const wanted = await openHuggingFaceFolder(join(TINY, name));
      await using(join(TINY, name, 'model-f32.gguf'), ({config}) => {
        const {ropeScaling, normEpsilon, ...rest} = config;
        const {ropeScaling: _, normEpsilon: epsilon, ...wantedRest} = wanted.config;
        expect(rest).to.deep.equal(wantedRest);
        expect(normEpsilon).to.equal(Math.fround(epsilon)); // the format stores a float32
        expect(ropeScaling.kind).to.equal(name === 'qwen2-bias' ? 'none' : 'factors');
      });
      await wanted.close();
    });

    it(`dequantizes Q8_0 of ${name} to the nearest step of each block`, async () => {
      const exact = await openHuggingFaceFolder(join(TINY, name));
      await using(join(TINY, name, 'model-q8_0.gguf'), async (got) => {
        for (const [tensor, {dtype}] of got.tensors) {
          const values = await got.read(tensor);
          const wanted = await exact.read(tensor);
          for (let start = 0; start < values.length; start += 32) {
            const block = wanted.subarray(start, start + 32);
            // Half a step of scale = largest / 127; the scale itself is rounded to 11 bits, 127 steps of it add up.
            const step = dtype === 'Q8_0' ? Math.max(...block.map(Math.abs)) / 127 : 0;
            const tolerance = step * (0.5 + 127 * 2 ** -11) * (1 + 2 ** -20);
            const error = Math.max(...block.map((value, i) => Math.abs(values[start + i] - value)));
            if (!(error <= tolerance)) expect(error, `${tensor} at ${start}`).to.be.at.most(tolerance);
          }
        }
      });
      await exact.close();
    });
  }

  it('takes the factors of the rotation from rope_freqs.weight: those of Llama 3 with its parameters', async () => {
    await using(join(TINY, 'llama3-gqa-rope', 'model-f32.gguf'), ({config}) => {
      // Llama 3's rule for theta 500,000, head size 16, factor 8, low 1, high 4, original length 32.
      const wanted = Array.from({length: 8}, (_, i) => {
        const wavelength = 2 * Math.PI * 500_000 ** (i / 8);
        if (wavelength < 32 / 4) return 1;
        if (wavelength > 32) return 8;
        const smooth = (32 / wavelength - 1) / (4 - 1);
        return 1 / ((1 - smooth) / 8 + smooth);
      });
      if (config.ropeScaling.kind !== 'factors') throw new Error(config.ropeScaling.kind);
      config.ropeScaling.factors.forEach((factor, i) => expect(factor).to.be.closeTo(wanted[i], 1e-5));
      expect(config.ropeScaling.attentionFactor).to.equal(1);
    });
  });

  it('puts the rows of q and k of architecture llama back in order, and those of their biases', async () => {
    const tensors = [
      ...[EMBEDDING, counting('blk.0.attn_q.weight', [8, 6]), counting('blk.0.attn_k.weight', [4, 6])],
      ...[counting('blk.0.attn_q.bias', [8]), counting('blk.0.attn_v.weight', [4, 6])],
    ];
    const rowsOf = (values: Float32Array) =>
      [...values].filter((_, i) => i % 6 === 0).map((value) => value / 6);
    await using(write(metadataOf('llama'), tensors), async (checkpoint) => {
      const order = [0, 2, 1, 3, 4, 6, 5, 7]; // per head: rows 0 and 2 are the first half
      expect(rowsOf(await checkpoint.read('model.layers.0.self_attn.q_proj.weight'))).to.deep.equal(order);
      expect([...(await checkpoint.read('model.layers.0.self_attn.q_proj.bias'))]).to.deep.equal(order);
      expect(rowsOf(await checkpoint.read('model.layers.0.self_attn.k_proj.weight'))).to.deep.equal([
        0, 2, 1, 3,
      ]);
      expect(rowsOf(await checkpoint.read('model.layers.0.self_attn.v_proj.weight'))).to.deep.equal([
        0, 1, 2, 3,
      ]);
      expect(checkpoint.config.bias.qkv).to.equal(true);
    });
    await using(write(metadataOf('qwen2'), tensors), async (checkpoint) => {
      expect([...(await checkpoint.read('model.layers.0.self_attn.q_proj.bias'))]).to.deep.equal([
        0, 1, 2, 3, 4, 5, 6, 7,
      ]);
    });
  });

  it('reads every dtype through the file, across the pieces in which it is read', async () => {
    // 9 MB of Q8_0: more than one piece of 8 MiB. Scale 1, quants by position.
    const blocks = 270_000;
    const data = new Uint8Array(blocks * 34);
    for (let block = 0; block < blocks; block++) {
      data[block * 34 + 1] = 0x3c;
      for (let i = 0; i < 32; i++) data[block * 34 + 2 + i] = (block * 7 + i) & 127;
    }
    const big = {name: 'output.weight', shape: [blocks, 32], type: GGML_TYPE.Q8_0, data};
    await using(write(metadataOf('llama'), [EMBEDDING, big]), async (checkpoint) => {
      const values = await checkpoint.read('lm_head.weight');
      for (let i = 0; i < values.length; i++) {
        const wanted = (Math.floor(i / 32) * 7 + (i % 32)) & 127;
        if (values[i] !== wanted) expect(values[i], `value ${i}`).to.equal(wanted);
      }
      expect(checkpoint.config.tiedEmbedding).to.equal(false);
    });
  });

  describe('configuration', () => {
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

  describe('hostile files', () => {
    const open = (bytes: Uint8Array) => openGguf(folder.write('hostile.gguf', bytes));
    const good = () => writeGguf(metadataOf('llama'), [EMBEDDING]);
    const patched = (position: number, value: bigint, bytes = good()) => {
      new DataView(bytes.buffer).setBigUint64(position, value, true);
      return bytes;
    };
    const tensor = (more: Partial<GgufTensorSpec>) =>
      writeGguf(metadataOf('llama'), [{...EMBEDDING, ...more}, counting('output_norm.weight', [6])]);

    for (const [what, bytes, code] of [
      ['an empty file', () => new Uint8Array(0), 'not-gguf'],
      ['another kind of file', () => new TextEncoder().encode('%PDF-1.7 and so on'), 'not-gguf'],
      ['version 1', () => patched(4, 1n), 'not-gguf'],
      ['big-endian files', () => patched(4, 3n << 24n), 'not-gguf'],
      ['a count of 2^60 tensors', () => patched(8, 2n ** 60n), 'malformed-gguf'],
      ['a count of a million tensors', () => patched(8, 1_000_000n), 'malformed-gguf'],
      ['a count of 2^60 keys', () => patched(16, 2n ** 60n), 'malformed-gguf'],
      ['a key of 2^40 bytes', () => patched(24, 2n ** 40n), 'malformed-gguf'],
      ['a header that was cut off', () => good().slice(0, 200), 'malformed-gguf'],
      ['data that was cut off', () => good().slice(0, -8), 'truncated'],
      ['a type that is not known', () => tensor({type: 20}), 'unsupported-dtype'],
      ['a type that no ggml has', () => tensor({type: 4000}), 'unsupported-dtype'],
      ['a shape larger than the data', () => tensor({shape: [1600, 6]}), 'truncated'],
      ['a shape that overflows', () => tensor({shape: [2 ** 32, 2 ** 32, 2 ** 32]}), 'malformed-gguf'],
      ['a dimension of 2^33', () => tensor({shape: [2 ** 33, 6]}), 'malformed-gguf'],
      ['a dimension of 0', () => tensor({shape: [0, 6]}), 'malformed-gguf'],
      ['no dimensions', () => tensor({shape: []}), 'malformed-gguf'],
      ['more dimensions than ggml has', () => tensor({shape: [16, 1, 1, 1, 6]}), 'malformed-gguf'],
      ['rows that are no whole blocks', () => tensor({type: GGML_TYPE.Q4_0}), 'malformed-gguf'],
      ['an offset behind the file', () => tensor({offset: 2 ** 40}), 'truncated'],
      ['an offset off the alignment', () => tensor({offset: 4}), 'malformed-gguf'],
      [
        'overlapping tensors',
        () =>
          writeGguf(metadataOf('llama'), [EMBEDDING, {...counting('output.weight', [16, 6]), offset: 32}]),
        'overlapping-tensors',
      ],
      [
        'two tensors of one name',
        () => writeGguf(metadataOf('llama'), [EMBEDDING, EMBEDDING]),
        'duplicate-tensor',
      ],
      [
        'an alignment of 3',
        () => writeGguf(metadataOf('llama', {'general.alignment': 3}), [EMBEDDING]),
        'malformed-gguf',
      ],
      [
        'an alignment of 2^31',
        () => writeGguf(metadataOf('llama', {'general.alignment': 2 ** 31}), [EMBEDDING]),
        'malformed-gguf',
      ],
      [
        'a key __proto__',
        () => writeGguf({...metadataOf('llama'), ['__proto__']: ['x']}, [EMBEDDING]),
        'malformed-gguf',
      ],
    ] as [string, () => Uint8Array, string][]) {
      it(`rejects ${what}`, async () => {
        expect((await rejection(() => open(bytes()), code)).message).to.contain('hostile.gguf');
      });
    }

    it('rejects heads that do not divide the rows of q, naming the tensor', async () => {
      const path = write(metadataOf('llama'), [EMBEDDING, counting('blk.0.attn_q.weight', [7, 6])]);
      await using(path, async (checkpoint) => {
        const error = await rejection(
          () => checkpoint.read('model.layers.0.self_attn.q_proj.weight'),
          'malformed-tensor',
        );
        expect(error.message).to.contain('q_proj');
        await rejection(() => checkpoint.read('lm_head.weight'), 'missing-tensor');
      });
    });

    it('names the tensor when a file becomes shorter while it is read', async () => {
      const path = folder.write('shrinks.gguf', good());
      await using(path, async (checkpoint) => {
        folder.write('shrinks.gguf', readFileSync(path).subarray(0, 300));
        const error = await rejection(() => checkpoint.read('model.embed_tokens.weight'), 'truncated');
        expect(error.message).to.contain('model.embed_tokens.weight');
      });
    });
  });

  it('keeps a byte order mark at the start of a token, which the parser drops', async () => {
    const tokens = ['<unk>', '\ufeffusing', 'using', '\ufeff'];
    const metadata = metadataOf('llama', {
      'tokenizer.ggml.model': 'llama',
      'tokenizer.ggml.tokens': tokens,
      'tokenizer.ggml.scores': [0, -1, -2, -3],
      'tokenizer.ggml.token_type': [2, 1, 1, 1],
    });
    const path = write(metadata, [EMBEDDING]);
    const parsed = await parseHeader(path, {allowLocalFile: true});
    expect(
      (parsed.metadata as unknown as Record<string, unknown>)['tokenizer.ggml.tokens'],
    ).to.not.deep.equal(tokens); // else exactStrings can go
    await using(path, (checkpoint) => {
      const {vocab} = checkpoint.tokenizer?.tokenizer['model'] as {vocab: Record<string, number>};
      expect({...vocab}).to.deep.equal({'<unk>': 0, '\ufeffusing': 1, using: 2, '\ufeff': 3});
    });
  });
});
