/** @file The names of GGUF tensors in Hugging Face's terms, and which rows must be put back in order. */
import type {LlamaConfig} from '../config/llama-config.js';
import type {GgufEntry} from './gguf-header.js';

const TOP: Readonly<Record<string, string>> = {
  'token_embd.weight': 'model.embed_tokens.weight',
  'output_norm.weight': 'model.norm.weight',
  'output.weight': 'lm_head.weight',
};

const IN_LAYER: Readonly<Record<string, string>> = {
  attn_norm: 'input_layernorm',
  ffn_norm: 'post_attention_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_qkv: 'self_attn.qkv_proj',
  attn_output: 'self_attn.o_proj',
  attn_q_norm: 'self_attn.q_norm',
  attn_k_norm: 'self_attn.k_norm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
  ffn_gate_inp: 'block_sparse_moe.gate',
};

/** Read with the configuration; `attn_rot_embd` holds what follows from the configuration, and llama.cpp skips it too. */
const FACTORS = /^rope_(?:freqs|factors_short|factors_long)\.weight$|^blk\.\d+\.attn_rot_embd(?:\.weight)?$/;

/** Which of an expert's layers, as mixtral's authors name them. */
const EXPERT: Readonly<Record<string, string>> = {ffn_gate: 'w1', ffn_down: 'w2', ffn_up: 'w3'};

/** Part of a GGUF tensor under the name that Hugging Face has for it. */
export interface GgufTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly start: number;
  readonly bytes: number;
  /** Heads whose rows are interleaved for llama.cpp's rotation; 0 if the rows are in order. */
  readonly interleavedHeads: number;
}

/**
 * Names a tensor.
 *
 * @param entry A tensor of the file.
 * @param config What the metadata says.
 * @param permuted Whether the rows of q and k are interleaved: in files of architecture `llama`.
 * @returns Its parts by Hugging Face name: one, or one an expert; none for factors of the rotation. A tensor that is not known
 *   keeps its name, so that loading says that it has no place in the model.
 */
export function huggingFaceTensors(entry: GgufEntry, config: LlamaConfig, permuted: boolean): GgufTensor[] {
  const {name, shape, dtype, start, bytes} = entry;
  const one = (renamed: string, interleavedHeads = 0): GgufTensor[] => [
    {name: renamed, shape, dtype, start, bytes, interleavedHeads},
  ];
  if (Object.hasOwn(TOP, name)) return one(TOP[name]);
  const match = /^blk\.(\d+)\.([a-z_]+)(?:\.(\d+))?\.(weight|bias)$/.exec(name);
  if (FACTORS.test(name)) return [];
  if (match === null) return one(name);
  const [, layer, part, expert, kind] = match;
  const prefix = `model.layers.${Number(layer)}`;
  if (expert !== undefined) {
    return Object.hasOwn(EXPERT, part) ? one(expertName(prefix, Number(expert), part, kind)) : one(name);
  }
  const merged = part.replace(/_exps$/, '');
  if (merged !== part && Object.hasOwn(EXPERT, merged) && shape.length === 3) {
    const [experts, ...rest] = shape;
    return Array.from({length: experts}, (_, index) => ({
      name: expertName(prefix, index, merged, kind),
      shape: rest,
      dtype,
      start: start + (bytes / experts) * index,
      bytes: bytes / experts,
      interleavedHeads: 0,
    }));
  }
  if (config.fusedProjections && part === 'ffn_up') return one(`${prefix}.mlp.gate_up_proj.${kind}`);
  if (!Object.hasOwn(IN_LAYER, part)) return one(name);
  const heads = part === 'attn_q' ? config.heads : part === 'attn_k' ? config.keyHeads : 0;
  return one(`${prefix}.${IN_LAYER[part]}.${kind}`, permuted ? heads : 0);
}

function expertName(prefix: string, expert: number, part: string, kind: string): string {
  return `${prefix}.block_sparse_moe.experts.${expert}.${EXPERT[part]}.${kind}`;
}
