/**
 * @file Checkpoints of published shapes with random weights, laid out as Hugging Face publishes them: bfloat16
 * safetensors in shards, written piece by piece in little memory.
 */
import {mkdirSync} from 'node:fs';
import {open, writeFile, type FileHandle} from 'node:fs/promises';
import {join} from 'node:path';
import {parseConfig} from '../../lib/language/config/parse-config.js';
import {weightPlan} from '../../lib/language/weights/weight-plan.js';

export type Json = Readonly<Record<string, unknown>>;

const LLAMA_2_7B: Json = {
  model_type: 'llama',
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 32,
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: false,
  bos_token_id: 1,
  eos_token_id: 2,
  torch_dtype: 'bfloat16',
};

/** What the published config.json of each says, as far as it is read. */
export const SHAPES: Readonly<Record<string, Json>> = {
  'llama-2-7b': LLAMA_2_7B,
  'llama-3-8b': {
    ...LLAMA_2_7B,
    vocab_size: 128256,
    intermediate_size: 14336,
    num_key_value_heads: 8,
    max_position_embeddings: 8192,
    rope_theta: 500000,
    bos_token_id: 128000,
    eos_token_id: 128009,
  },
  'mixtral-8x7b': {
    ...LLAMA_2_7B,
    model_type: 'mixtral',
    intermediate_size: 14336,
    num_key_value_heads: 8,
    max_position_embeddings: 32768,
    rope_theta: 1e6,
    num_local_experts: 8,
    num_experts_per_tok: 2,
  },
  small: {
    ...LLAMA_2_7B,
    vocab_size: 512,
    hidden_size: 128,
    intermediate_size: 352,
    num_hidden_layers: 4,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    max_position_embeddings: 512,
  },
};

/** Values written at a time. */
const PIECE_VALUES = 8 * 1024 ** 2;
/** 1 in bfloat16. */
const ONE = 0x3f80;

interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
}

/**
 * Writes config.json, the shards and their index, and says what it wrote.
 *
 * @param json The config.json.
 * @param shardBytes No shard is larger, but for one that holds a single larger tensor.
 */
export async function makeCheckpoint(folder: string, json: Json, shardBytes: number): Promise<void> {
  mkdirSync(folder, {recursive: true});
  const tensors = weightPlan(parseConfig(json)).map(({tensor, shape}) => ({name: tensor, shape}));
  const shards = inShards(tensors, shardBytes);
  const total = tensors.reduce((bytes, tensor) => bytes + bytesOf(tensor), 0);
  const weightMap: Record<string, string> = {};
  for (const [i, shard] of shards.entries()) {
    const name = `model-${padded(i + 1)}-of-${padded(shards.length)}.safetensors`;
    for (const tensor of shard) weightMap[tensor.name] = name;
    await writeShard(join(folder, name), shard);
    console.log(`${name}: ${shard.length} tensors`);
  }
  const index = {metadata: {total_size: total}, weight_map: weightMap};
  await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify(index));
  await writeFile(join(folder, 'config.json'), JSON.stringify(json, null, 2));
  console.log(`${folder}: ${(total / 2e9).toFixed(2)} billion weights, ${(total / 1e9).toFixed(2)} GB`);
}

function inShards(tensors: readonly Tensor[], shardBytes: number): Tensor[][] {
  const shards: Tensor[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    if (bytes > 0 && bytes + bytesOf(tensor) > shardBytes) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1)!.push(tensor);
    bytes += bytesOf(tensor);
  }
  return shards;
}

async function writeShard(path: string, tensors: readonly Tensor[]): Promise<void> {
  const header: Record<string, unknown> = {};
  let offset = 0;
  for (const tensor of tensors) {
    const end = offset + bytesOf(tensor);
    header[tensor.name] = {dtype: 'BF16', shape: tensor.shape, data_offsets: [offset, end]};
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = await open(path, 'w');
  try {
    await file.writeFile(Buffer.concat([length, json]));
    for (const tensor of tensors) await writeRandom(file, tensor);
  } finally {
    await file.close();
  }
}

/** Uniform values with a variance of 1 / inputs, so that activations keep their size; norms are 1. */
async function writeRandom(file: FileHandle, {name, shape}: Tensor): Promise<void> {
  const count = sizeOf(shape);
  const table = bfloat16Table(Math.sqrt(3 / shape[shape.length - 1]));
  const piece = new Uint16Array(Math.min(count, PIECE_VALUES));
  let state = seedOf(name);
  for (let done = 0; done < count; done += piece.length) {
    const values = piece.subarray(0, count - done);
    if (shape.length === 1) values.fill(ONE);
    else {
      for (let i = 0; i < values.length; i++) {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        values[i] = table[state >>> 16];
      }
    }
    await file.writeFile(new Uint8Array(piece.buffer, 0, values.byteLength));
  }
}

/** bfloat16 values evenly spread over [-scale, scale]. */
function bfloat16Table(scale: number): Uint16Array {
  const values = Float32Array.from({length: 65536}, (_, i) => scale * ((2 * i + 1) / 65536 - 1));
  return Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16);
}

function seedOf(name: string): number {
  let seed = 1;
  for (const letter of name) seed = (Math.imul(seed, 31) + letter.codePointAt(0)!) >>> 0;
  return seed;
}

function bytesOf({shape}: Tensor): number {
  return 2 * sizeOf(shape);
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, dimension) => size * dimension, 1);
}

function padded(number: number): string {
  return String(number).padStart(5, '0');
}
