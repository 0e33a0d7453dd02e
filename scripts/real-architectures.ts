/**
 * @file The architectures that are too big to ship: the published configurations of Llama-2-7B, Llama-3-8B-Instruct and
 * Mixtral-8x7B-Instruct at full width, with one layer of random weights, through import, sparsify, save, load and decode.
 * With the real checkpoints the same is three commands; --help shows them.
 *
 * Usage: node --import tsx scripts/real-architectures.ts [NAME ...]
 */
import {mkdtempSync, rmSync} from 'node:fs';
import {open, writeFile, type FileHandle} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {parseArgs} from 'node:util';
import {loadBackend} from '../lib/backend/load.js';
import {inspect, sparsifyActivations, TargetScope} from '../lib/index.js';
import {PROJECTIONS, loadLanguageModel, type LanguageModel} from '../models/llama/index.js';

const HELP = `Usage: node --import tsx scripts/real-architectures.ts [llama-2-7b] [llama-3-8b-instruct] [mixtral-8x7b-instruct]

Each needs 2 to 9 GB of disk in the temporary folder (TMPDIR moves it) and 4 to 16 GB of memory, one after the other.

With the real checkpoints, which need consent on the Hugging Face Hub (HF_TOKEN) and about twice their float32 size of
memory (28 GB for 7 billion weights):
  npx tfjs-sparsify sparsify "$(npx tfjs-sparsify fetch hf:meta-llama/Llama-2-7b-hf)" --out llama-2-7b-sparse \\
    --data models/llama/data/wikitext-2-calibration.txt --calibration nncf \\
    --target '@gate_up=0.3' --target '@down=0.5'
  npx tfjs-sparsify evaluate llama-2-7b-sparse --data models/llama/data/wikitext-2-test.txt
  npx tfjs-sparsify generate llama-2-7b-sparse 'The capital of France is'
and so for hf:meta-llama/Meta-Llama-3-8B-Instruct and hf:mistralai/Mixtral-8x7B-Instruct-v0.1.`;

type Json = Readonly<Record<string, unknown>>;

/** The config.json of the published models, with one layer. */
const CONFIGS: Readonly<Record<string, Json>> = {
  'llama-2-7b': {
    ...{architectures: ['LlamaForCausalLM'], model_type: 'llama', vocab_size: 32000, hidden_size: 4096},
    ...{intermediate_size: 11008, num_attention_heads: 32, num_key_value_heads: 32, hidden_act: 'silu'},
    ...{max_position_embeddings: 4096, rms_norm_eps: 1e-5, rope_scaling: null, tie_word_embeddings: false},
    ...{bos_token_id: 1, eos_token_id: 2},
  },
  'llama-3-8b-instruct': {
    ...{architectures: ['LlamaForCausalLM'], model_type: 'llama', vocab_size: 128256, hidden_size: 4096},
    ...{intermediate_size: 14336, num_attention_heads: 32, num_key_value_heads: 8, hidden_act: 'silu'},
    ...{max_position_embeddings: 8192, rms_norm_eps: 1e-5, rope_theta: 500000, rope_scaling: null},
    ...{tie_word_embeddings: false, attention_bias: false, bos_token_id: 128000, eos_token_id: 128009},
  },
  'mixtral-8x7b-instruct': {
    ...{architectures: ['MixtralForCausalLM'], model_type: 'mixtral', vocab_size: 32000, hidden_size: 4096},
    ...{intermediate_size: 14336, num_attention_heads: 32, num_key_value_heads: 8, hidden_act: 'silu'},
    ...{max_position_embeddings: 32768, rms_norm_eps: 1e-5, rope_theta: 1e6, sliding_window: null},
    ...{
      num_local_experts: 8,
      num_experts_per_tok: 2,
      tie_word_embeddings: false,
      bos_token_id: 1,
      eos_token_id: 2,
    },
  },
};
const LAYERS = 1;
const GENERATED_TOKENS = 16;
/** Random values made at a time; a larger tensor repeats them. */
const BLOCK_VALUES = 4 * 1024 ** 2;
/** 1 in bfloat16. */
const NORM_ONE = 0x3f80;

const {values: options, positionals} = parseArgs({
  allowPositionals: true,
  options: {help: {type: 'boolean', short: 'h', default: false}},
});
const unknown = positionals.filter((name) => !Object.hasOwn(CONFIGS, name));
if (options.help) console.log(HELP);
else if (unknown.length > 0) {
  console.error(`there is no ${unknown.join(', ')}; there are ${Object.keys(CONFIGS).join(', ')}`);
  process.exitCode = 2;
} else {
  await loadBackend();
  for (const name of positionals.length > 0 ? positionals : Object.keys(CONFIGS)) await prove(name);
}

async function prove(name: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-architecture-'));
  const timed = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const start = performance.now();
    const result = await work();
    const memory = (process.memoryUsage().rss / 1e9).toFixed(1);
    console.log(
      `${name}: ${what}, ${((performance.now() - start) / 1000).toFixed(1)} s, ${memory} GB in use`,
    );
    return result;
  };
  try {
    const config = {...CONFIGS[name], num_hidden_layers: LAYERS};
    await timed('wrote random weights as safetensors', () => writeCheckpoint(folder, config));
    const lm = await timed('imported', () => loadLanguageModel(folder));
    const ids = Array.from({length: 4 * 64}, (_, i) => 3 + ((i * 7919) % (lm.config.vocabularySize - 3)));
    await timed('sparsified in place', () =>
      sparsifyActivations(lm.model, lm.dataset(ids, {sequenceLength: 64}), {
        targetSparsityByScope: [
          [new TargetScope({patterns: [PROJECTIONS.gateUp]}), 0.3],
          [new TargetScope({patterns: [PROJECTIONS.down]}), 0.5],
        ],
        inPlace: true,
        saveStatistics: true,
      }),
    );
    const before = await timed('decoded', () => decode(lm, ids));
    const thresholds = inspect(lm.model).map(({path, threshold}) => `${path} ${threshold}`);
    await timed('saved', () => lm.save(join(folder, 'sparse')));
    lm.dispose();
    const loaded = await timed('loaded', () => loadLanguageModel(join(folder, 'sparse')));
    const after = await timed('decoded again', () => decode(loaded, ids));
    const same = inspect(loaded.model).map(({path, threshold}) => `${path} ${threshold}`);
    loaded.dispose();
    if (after.join() !== before.join() || same.join() !== thresholds.join()) {
      throw new Error(`${name} differs after loading: ${after.join()} instead of ${before.join()}`);
    }
    console.log(`${name}: the same tokens and thresholds after loading\n`);
  } finally {
    rmSync(folder, {recursive: true});
  }
}

async function decode(lm: LanguageModel, ids: readonly number[]): Promise<readonly number[]> {
  const {tokens, tokensPerSecond} = await lm.generate(ids.slice(0, 32), {maxTokens: GENERATED_TOKENS});
  console.log(`  ${tokensPerSecond.toFixed(1)} tokens a second with ${LAYERS} layer`);
  return tokens;
}

/** Writes config.json and model.safetensors, bfloat16, one tensor at a time. */
async function writeCheckpoint(folder: string, config: Json): Promise<void> {
  const shapes = shapesOf(config);
  let offset = 0;
  const header: Record<string, unknown> = {};
  for (const [name, shape] of shapes) {
    const bytes = 2 * shape.reduce((size, dimension) => size * dimension, 1);
    header[name] = {dtype: 'BF16', shape, data_offsets: [offset, offset + bytes]};
    offset += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = await open(join(folder, 'model.safetensors'), 'w');
  try {
    await file.write(Buffer.concat([length, json]));
    for (const [name, shape] of shapes) await writeRandom(file, name, shape);
  } finally {
    await file.close();
  }
  await writeFile(join(folder, 'config.json'), JSON.stringify({...config, torch_dtype: 'bfloat16'}));
}

function shapesOf(config: Json): Map<string, number[]> {
  const size = (key: string) => Number(config[key]);
  const [vocabulary, hidden, inner] = [size('vocab_size'), size('hidden_size'), size('intermediate_size')];
  const keys = (hidden / size('num_attention_heads')) * size('num_key_value_heads');
  const experts = config['num_local_experts'] === undefined ? 0 : size('num_local_experts');
  const shapes = new Map<string, number[]>([['model.embed_tokens.weight', [vocabulary, hidden]]]);
  for (let layer = 0; layer < LAYERS; layer++) {
    const add = (name: string, ...shape: number[]) =>
      shapes.set(`model.layers.${layer}.${name}.weight`, shape);
    add('input_layernorm', hidden);
    add('self_attn.q_proj', hidden, hidden);
    add('self_attn.k_proj', keys, hidden);
    add('self_attn.v_proj', keys, hidden);
    add('self_attn.o_proj', hidden, hidden);
    add('post_attention_layernorm', hidden);
    if (experts === 0) {
      add('mlp.gate_proj', inner, hidden);
      add('mlp.up_proj', inner, hidden);
      add('mlp.down_proj', hidden, inner);
    } else add('block_sparse_moe.gate', experts, hidden);
    for (let i = 0; i < experts; i++) {
      add(`block_sparse_moe.experts.${i}.w1`, inner, hidden);
      add(`block_sparse_moe.experts.${i}.w2`, hidden, inner);
      add(`block_sparse_moe.experts.${i}.w3`, inner, hidden);
    }
  }
  return shapes.set('model.norm.weight', [hidden]).set('lm_head.weight', [vocabulary, hidden]);
}

/** Values of about 1 / sqrt(inputs): uniform random bits, as bfloat16. Norms are 1. */
async function writeRandom(file: FileHandle, name: string, shape: readonly number[]): Promise<void> {
  const count = shape.reduce((size, dimension) => size * dimension, 1);
  const block = new Uint16Array(Math.min(count, BLOCK_VALUES));
  const values = new Float32Array(1);
  const bits = new Uint32Array(values.buffer);
  const scale = Math.sqrt(3 / shape[shape.length - 1]);
  let state = 1 + name.length * 7919 + count;
  for (let i = 0; i < block.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    values[0] = scale * (state / 2 ** 31 - 1);
    block[i] = name.endsWith('norm.weight') ? NORM_ONE : bits[0] >>> 16;
  }
  for (let written = 0; written < count; written += block.length) {
    const piece = block.subarray(0, Math.min(block.length, count - written));
    await file.write(new Uint8Array(piece.buffer, 0, piece.byteLength));
  }
}
