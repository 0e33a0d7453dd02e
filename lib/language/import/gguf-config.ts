/**
 * @file The configuration of a GGUF file, from its metadata and the shapes of its tensors. What llama.cpp's converter
 * writes nowhere is deduced from the tensors: vocabulary, biases, tied embedding.
 */
import {ModelError} from '../../errors.js';
import type {Architecture, LlamaConfig, RopeScaling} from '../config/llama-config.js';
import type {GgufEntry, GgufMetadata} from './gguf-header.js';
import {checkKeys} from './gguf-keys.js';
import {GgufValues} from './gguf-values.js';

/** The names that llama.cpp gives these families; mistral and mixtral go under `llama`. */
const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  llama: 'llama',
  qwen2: 'qwen2',
  qwen3: 'qwen3',
  phi3: 'phi3',
  gemma: 'gemma',
};

/** Control tokens that end a turn and are in no key of older files. */
const END_OF_TURN: ReadonlySet<unknown> = new Set(['<|eot_id|>', '<|im_end|>', '<|end|>', '<end_of_turn>']);
/** `tokenizer.ggml.token_type` of control tokens. */
const CONTROL = 3;

/**
 * Reads the configuration.
 *
 * @param metadata Of the file.
 * @param entries Its tensors.
 * @param ropeFactors Values of `rope_freqs.weight`, or of `rope_factors_short.weight`; null if there is neither.
 * @param path The file, for errors.
 * @throws {ModelError} `unknown-architecture`, `malformed-config`, `unknown-metadata`, naming the key.
 */
export function ggufConfig(
  metadata: GgufMetadata,
  entries: readonly GgufEntry[],
  ropeFactors: Float32Array | null,
  path: string,
): LlamaConfig {
  const name = metadata.get('general.architecture');
  if (typeof name !== 'string' || !Object.hasOwn(ARCHITECTURES, name)) {
    throw new ModelError(
      'unknown-architecture',
      `${path} has architecture ${typeof name === 'string' ? JSON.stringify(name.slice(0, 80)) : 'none'}; ` +
        `${Object.keys(ARCHITECTURES).join(', ')} can be read`,
      {path, architecture: name},
    );
  }
  const values = new GgufValues(metadata, name, path);
  const shapes = new Map(entries.map((entry) => [entry.name, entry.shape]));
  const embedding = shapes.get('token_embd.weight');
  if (embedding?.length !== 2) {
    throw new ModelError('missing-tensor', `${path} has no matrix "token_embd.weight": download it again`, {
      path,
      tensor: 'token_embd.weight',
    });
  }
  const hiddenSize = values.size('embedding_length');
  const heads = values.size('attention.head_count');
  const experts = values.count('expert_count', 0);
  const headSize = values.count(
    'attention.key_length',
    values.count('rope.dimension_count', hiddenSize / heads),
  );
  const rotated = values.count('rope.dimension_count', headSize);
  if (
    rotated !== headSize ||
    values.count('attention.value_length', headSize) !== headSize ||
    headSize % 2 !== 0
  ) {
    throw values.error(
      'rope.dimension_count',
      `heads of one even size, all of it rotated (size ${headSize})`,
    );
  }
  const has = (tensor: string) => shapes.has(tensor);
  const window = values.count('attention.sliding_window', 0);
  if (experts > 0 && name !== 'llama') throw values.error('expert_count', '0 or absent in this family');
  const config: LlamaConfig = {
    architecture: name === 'llama' && experts > 0 ? 'mixtral' : ARCHITECTURES[name],
    vocabularySize: embedding[0],
    hiddenSize,
    intermediateSize: values.size('feed_forward_length'),
    layers: values.size('block_count'),
    heads,
    keyHeads: values.count('attention.head_count_kv', heads),
    headSize,
    normEpsilon: values.positive('attention.layer_norm_rms_epsilon'),
    activation: name === 'gemma' ? 'gelu_tanh' : 'silu',
    ropeTheta: values.positive('rope.freq_base', 10_000),
    ropeScaling: ropeScaling(values, ropeFactors, headSize),
    contextLength: contextLength(values, has('rope_factors_short.weight')),
    slidingWindow: window > 0 ? window : null,
    tiedEmbedding: !has('output.weight'),
    bias: {
      qkv: has('blk.0.attn_q.bias') || has('blk.0.attn_qkv.bias'),
      output: has('blk.0.attn_output.bias'),
      mlp: has('blk.0.ffn_up.bias') || has('blk.0.ffn_down.bias'),
    },
    queryKeyNorm: has('blk.0.attn_q_norm.weight'),
    fusedProjections: name === 'phi3',
    embeddingScale: name === 'gemma' ? Math.sqrt(hiddenSize) : 1,
    experts: experts > 0 ? {count: experts, perToken: values.size('expert_used_count')} : null,
    bosTokenId: values.tokenId('bos_token_id'),
    eosTokenIds: eosTokenIds(values),
  };
  checkKeys(metadata, values.read, config, path);
  return config;
}

/**
 * As llama.cpp scales: a factor without a type is linear, `scale_linear` is what the factor was called before, and 0 is
 * none. Factors of a tensor multiply with it, and cosines and sines are scaled by `attn_factor` whatever the type.
 */
function ropeScaling(values: GgufValues, tensor: Float32Array | null, headSize: number): RopeScaling {
  const type = values.text('rope.scaling.type', 'linear');
  if (!['none', 'linear', 'longrope'].includes(type) || (type === 'longrope' && tensor === null)) {
    throw values.error(
      'rope.scaling.type',
      'none or linear, or longrope with its factors in rope_factors_short.weight: use another checkpoint',
    );
  }
  const [current, old] = ['rope.scaling.factor', 'rope.scale_linear'].map((key) => values.scale(key));
  const said = current ?? old ?? 1;
  if (type === 'longrope' && said !== 1) {
    throw values.error('rope.scaling.factor', '1 or absent beside the factors of longrope');
  }
  const factor = type === 'none' ? 1 : said;
  const attentionFactor = values.positive('rope.scaling.attn_factor', 1);
  if (tensor === null && attentionFactor === 1) {
    return factor === 1 ? {kind: 'none'} : {kind: 'linear', factor};
  }
  const factors = tensor ?? new Float32Array(headSize / 2).fill(1);
  if (factors.length !== headSize / 2 || factors.some((one) => !(one > 0))) {
    throw values.error('rope_freqs.weight', `${headSize / 2} positive factors, one for each pair of a head`);
  }
  return {kind: 'factors', factors: Array.from(factors, (one) => one * factor), attentionFactor};
}

/** The long factors of phi3 change what short texts give, so they are not used and the short ones set the limit. */
function contextLength(values: GgufValues, longRope: boolean): number {
  const length = values.size('context_length');
  return longRope ? Math.min(length, values.count('rope.scaling.original_context_length', length)) : length;
}

function eosTokenIds(values: GgufValues): number[] {
  const ids = ['eos_token_id', 'eot_token_id', 'eom_token_id'].map((key) => values.tokenId(key));
  const types = values.tokenizer('token_type');
  const tokens = values.tokenizer('tokens');
  if (Array.isArray(types) && Array.isArray(tokens)) {
    for (const [id, token] of tokens.entries()) {
      if (types[id] === CONTROL && END_OF_TURN.has(token)) ids.push(id);
    }
  }
  return [...new Set(ids.filter((id) => id !== null))];
}
