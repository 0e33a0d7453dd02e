import {expect} from 'chai';
import type {GgufEntry} from '../../../lib/language/import/gguf-header.js';
import {huggingFaceTensors} from '../../../lib/language/import/gguf-names.js';
import {smallConfigs} from '../../support/language/random-checkpoint.js';

const LLAMA = smallConfigs().get('llama')!; // 4 heads, 2 key heads
const PHI3 = smallConfigs().get('phi3')!;

const entry = (name: string, shape: readonly number[] = [4, 2]): GgufEntry => ({
  name,
  shape,
  dtype: 'Q8_0',
  start: 1000,
  bytes: 600,
});

/** Names in GGUF and in Hugging Face's checkpoints. */
const NAMES: Readonly<Record<string, string>> = {
  'token_embd.weight': 'model.embed_tokens.weight',
  'output_norm.weight': 'model.norm.weight',
  'output.weight': 'lm_head.weight',
  'blk.0.attn_norm.weight': 'model.layers.0.input_layernorm.weight',
  'blk.31.ffn_norm.weight': 'model.layers.31.post_attention_layernorm.weight',
  'blk.2.attn_q.bias': 'model.layers.2.self_attn.q_proj.bias',
  'blk.2.attn_k.weight': 'model.layers.2.self_attn.k_proj.weight',
  'blk.2.attn_v.bias': 'model.layers.2.self_attn.v_proj.bias',
  'blk.2.attn_qkv.weight': 'model.layers.2.self_attn.qkv_proj.weight',
  'blk.2.attn_output.weight': 'model.layers.2.self_attn.o_proj.weight',
  'blk.2.attn_q_norm.weight': 'model.layers.2.self_attn.q_norm.weight',
  'blk.2.attn_k_norm.weight': 'model.layers.2.self_attn.k_norm.weight',
  'blk.2.ffn_gate.weight': 'model.layers.2.mlp.gate_proj.weight',
  'blk.2.ffn_up.weight': 'model.layers.2.mlp.up_proj.weight',
  'blk.2.ffn_down.weight': 'model.layers.2.mlp.down_proj.weight',
  'blk.2.ffn_gate_inp.weight': 'model.layers.2.block_sparse_moe.gate.weight',
  'blk.2.ffn_gate.7.weight': 'model.layers.2.block_sparse_moe.experts.7.w1.weight',
  'blk.2.ffn_down.10.weight': 'model.layers.2.block_sparse_moe.experts.10.w2.weight',
  'blk.2.ffn_up.0.weight': 'model.layers.2.block_sparse_moe.experts.0.w3.weight',
  // What is not known keeps its name.
  'blk.2.attn_sinks.weight': 'blk.2.attn_sinks.weight',
  'blk.2.attn_q.3.weight': 'blk.2.attn_q.3.weight',
  'blk.2.attn_q_exps.weight': 'blk.2.attn_q_exps.weight',
  'blk.2.ffn_up_exps.weight': 'blk.2.ffn_up_exps.weight', // of two dimensions
  'blk.2.toString.weight': 'blk.2.toString.weight',
  'blk.2.attn_q.scale': 'blk.2.attn_q.scale',
  'xblk.2.attn_q.weight': 'xblk.2.attn_q.weight',
  'blk.2.attn_q.weight.old': 'blk.2.attn_q.weight.old',
  'blk.x.attn_q.weight': 'blk.x.attn_q.weight',
  'rope_freqs.weight.old': 'rope_freqs.weight.old',
  toString: 'toString',
};

describe('the names of gguf tensors', () => {
  for (const [name, renamed] of Object.entries(NAMES)) {
    it(`${name === renamed ? 'leave' : 'turn'} ${name}${name === renamed ? '' : ` into ${renamed}`}`, () => {
      const {shape, dtype, start, bytes} = entry(name);
      expect(huggingFaceTensors(entry(name), LLAMA, false)).to.deep.equal([
        {name: renamed, shape, dtype, start, bytes, interleavedHeads: 0},
      ]);
    });
  }

  it('say which rows are interleaved where those of q and k are', () => {
    const heads = (name: string) => huggingFaceTensors(entry(name), LLAMA, true)[0].interleavedHeads;
    expect(
      ['blk.1.attn_q.weight', 'blk.1.attn_q.bias', 'blk.1.attn_k.weight', 'blk.1.attn_k.bias'].map(heads),
    ).to.deep.equal([4, 4, 2, 2]);
    const others = [
      'blk.1.attn_v.weight',
      'blk.1.attn_q_norm.weight',
      'blk.1.ffn_gate.weight',
      'output.weight',
    ];
    expect(others.map(heads)).to.deep.equal([0, 0, 0, 0]);
  });

  it('give the experts of a merged tensor apart, one behind the other', () => {
    for (const [part, expert] of [
      ['gate', 'w1'],
      ['down', 'w2'],
      ['up', 'w3'],
    ]) {
      const parts = huggingFaceTensors(entry(`blk.3.ffn_${part}_exps.weight`, [3, 10, 20]), LLAMA, true);
      expect(parts).to.deep.equal(
        [0, 1, 2].map((index) => ({
          name: `model.layers.3.block_sparse_moe.experts.${index}.${expert}.weight`,
          shape: [10, 20],
          dtype: 'Q8_0',
          start: 1000 + 200 * index,
          bytes: 200,
          interleavedHeads: 0,
        })),
      );
    }
  });

  it('call gate and up in one by the name of both where the family has them so', () => {
    const name = ({name}: {name: string}) => name;
    expect(huggingFaceTensors(entry('blk.0.ffn_up.weight'), PHI3, false).map(name)).to.deep.equal([
      'model.layers.0.mlp.gate_up_proj.weight',
    ]);
    expect(huggingFaceTensors(entry('blk.0.ffn_down.weight'), PHI3, false).map(name)).to.deep.equal([
      'model.layers.0.mlp.down_proj.weight',
    ]);
  });

  for (const name of [
    'rope_freqs.weight',
    'rope_factors_short.weight',
    'rope_factors_long.weight',
    'blk.12.attn_rot_embd',
    'blk.12.attn_rot_embd.weight',
  ]) {
    it(`leave out the factors of the rotation: ${name}`, () => {
      expect(huggingFaceTensors(entry(name), LLAMA, true)).to.deep.equal([]);
    });
  }
});
