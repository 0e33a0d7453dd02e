/**
 * @file A Hugging Face `config.json` as a `LlamaConfig`: every field checked, and absent ones filled as the
 * configuration classes of transformers fill them.
 */
import {ModelError} from '../../errors.js';
import {checkOptions, count} from '../../option-rules.js';
import {ARCHITECTURES, type Architecture, type GateActivation, type LlamaConfig} from './llama-config.js';
import {Fields, isJsonObject, type Range} from './config-field.js';
import {parseRope} from './parse-rope.js';
import {checkUnread} from './unread-fields.js';

/** Far above any published model, and small enough that a hostile file cannot ask for absurd memory by one field. */
const SIZE: Range = {least: 1, most: 2 ** 20};
const VOCABULARY: Range = {least: 1, most: 2 ** 22};
const COUNT: Range = {least: 1, most: 1024};
const LENGTH: Range = {least: 1, most: 2 ** 30};
/** Values in one matrix: a Float32Array's most in V8, 16 GiB. */
const MAX_MATRIX = 2 ** 32;

/** What an architecture's configuration class says where the file says nothing. */
interface Defaults {
  /** 0: as many as heads. */
  readonly keyHeads: number;
  /** 0: hidden size / heads. */
  readonly headSize: number;
  readonly normEpsilon: number;
  readonly theta: number;
  readonly contextLength: number;
  /** Where the file does not name it; null says that there is none, in the file too. */
  readonly window: number | null;
}

const DEFAULTS: Readonly<Record<Architecture, Defaults>> = {
  llama: {keyHeads: 0, headSize: 0, normEpsilon: 1e-6, theta: 1e4, contextLength: 2048, window: null},
  mistral: {keyHeads: 8, headSize: 0, normEpsilon: 1e-6, theta: 1e4, contextLength: 131072, window: 4096},
  mixtral: {keyHeads: 8, headSize: 0, normEpsilon: 1e-5, theta: 1e6, contextLength: 131072, window: null},
  qwen2: {keyHeads: 32, headSize: 0, normEpsilon: 1e-6, theta: 1e4, contextLength: 32768, window: 4096},
  qwen3: {keyHeads: 32, headSize: 128, normEpsilon: 1e-6, theta: 1e4, contextLength: 32768, window: 4096},
  phi3: {keyHeads: 0, headSize: 0, normEpsilon: 1e-5, theta: 1e4, contextLength: 4096, window: null},
  gemma: {keyHeads: 16, headSize: 256, normEpsilon: 1e-6, theta: 1e4, contextLength: 8192, window: null},
};

export interface ParseConfigOptions {
  /**
   * Positions that will be used. Matters to `longrope` (phi3) only: up to the original context length, the default,
   * the short factors apply, beyond it the long ones.
   */
  readonly contextLength?: number;
}

/**
 * Parses a `config.json`.
 *
 * @param json The parsed file.
 * @throws {ModelError} `unknown-architecture`; `invalid-config` with the field, what was got and what is allowed;
 *   `unsupported-rope`, `unsupported-attention` for what the layers cannot compute; `unknown-field` for a field that could
 *   change the computation and is not known.
 * @example
 * const config = parseConfig(JSON.parse(await readFile('config.json', 'utf8')));
 */
export function parseConfig(json: unknown, options: ParseConfigOptions = {}): LlamaConfig {
  checkOptions<ParseConfigOptions>('parseConfig', options, {contextLength: count()});
  const {contextLength} = options;
  if (!isJsonObject(json)) {
    throw new ModelError(
      'invalid-config',
      'config.json holds no object; use the file that belongs to the checkpoint',
    );
  }
  const fields = new Fields(json, 'config.json');
  const architecture = architectureOf(fields);
  const defaults = DEFAULTS[architecture];
  const hiddenSize = fields.integer('hidden_size', SIZE);
  const heads = fields.integer('num_attention_heads', COUNT);
  const keyHeads = fields.integer('num_key_value_heads', COUNT, defaults.keyHeads || heads);
  const headSize = fields.has('head_dim')
    ? fields.integer('head_dim', {least: 2, most: 4096})
    : defaults.headSize || hiddenSize / heads; // checkConfig refuses fractions
  const layers = fields.integer('num_hidden_layers', COUNT);
  const maxPositions = fields.integer('max_position_embeddings', LENGTH, defaults.contextLength);
  const rope = parseRope(fields, {headSize, theta: defaults.theta, maxPositions, wanted: contextLength});
  const config = checkConfig({
    architecture,
    vocabularySize: fields.integer('vocab_size', VOCABULARY),
    hiddenSize,
    intermediateSize: fields.integer('intermediate_size', SIZE),
    layers,
    heads,
    keyHeads,
    headSize,
    normEpsilon: fields.number('rms_norm_eps', {least: 1e-12, most: 1}, defaults.normEpsilon),
    activation: activationOf(fields, architecture),
    ropeTheta: rope.theta,
    ropeScaling: rope.scaling,
    contextLength: rope.contextLength,
    slidingWindow: slidingWindowOf(fields, architecture, layers),
    tiedEmbedding: fields.boolean('tie_word_embeddings', architecture === 'gemma'),
    bias: biasesOf(fields, architecture),
    queryKeyNorm: architecture === 'qwen3',
    fusedProjections: architecture === 'phi3',
    embeddingScale: architecture === 'gemma' ? Math.sqrt(hiddenSize) : 1,
    experts: architecture === 'mixtral' ? expertsOf(fields) : null,
    bosTokenId: fields.tokenIds('bos_token_id')[0] ?? null,
    eosTokenIds: fields.tokenIds('eos_token_id'),
  });
  checkUnread(fields, config);
  return config;
}

/**
 * Checks what several fields together must fulfil. For importers of other formats too.
 *
 * @returns The same configuration.
 * @throws {ModelError} `invalid-config`.
 */
function checkConfig(config: LlamaConfig): LlamaConfig {
  const {hiddenSize, heads, keyHeads, headSize, vocabularySize, intermediateSize} = config;
  const fail = (what: string): never => {
    throw new ModelError('invalid-config', `the model's configuration is contradictory: ${what}`, {config});
  };
  if (!Number.isInteger(headSize) || headSize % 2 !== 0) {
    fail(
      `a head has ${headSize} elements; it must be an even number (hidden size ${hiddenSize}, ${heads} heads)`,
    );
  }
  if (heads % keyHeads !== 0) {
    fail(`${heads} heads cannot share ${keyHeads} key heads; their number must divide that of the heads`);
  }
  if (
    Math.max(vocabularySize, 2 * intermediateSize, (heads + 2 * keyHeads) * headSize) * hiddenSize >
    MAX_MATRIX
  ) {
    fail('a matrix of it would have more than 2^32 values, which no JavaScript array holds');
  }
  const {experts, ropeScaling} = config;
  if (experts !== null && experts.perToken > experts.count) {
    fail(`a token goes to ${experts.perToken} of ${experts.count} experts`);
  }
  if (ropeScaling.kind === 'factors' && ropeScaling.factors.length !== headSize / 2) {
    fail(
      `${ropeScaling.factors.length} rotary factors for heads of ${headSize}; there must be ${headSize / 2}`,
    );
  }
  return config;
}

function architectureOf(fields: Fields): Architecture {
  const type = fields.raw('model_type');
  const known = ARCHITECTURES.find((name) => name === type);
  if (known !== undefined) return known;
  throw new ModelError(
    'unknown-architecture',
    `config.json: "model_type" is ${JSON.stringify(type) ?? 'missing'}; supported are ${ARCHITECTURES.join(', ')}`,
    {got: type, allowed: ARCHITECTURES},
  );
}

function activationOf(fields: Fields, architecture: Architecture): GateActivation {
  const names = ['silu', 'swish', 'gelu', 'gelu_pytorch_tanh', 'gelu_new', 'gelu_fast'] as const;
  // Gemma's newer files name it twice, and the first name counts; in other families there is one.
  const isNamedTwice = architecture === 'gemma' && fields.has('hidden_activation');
  const field = isNamedTwice ? 'hidden_activation' : 'hidden_act';
  if (isNamedTwice) fields.ignore('hidden_act');
  const name = fields.oneOf(field, names, architecture === 'gemma' ? 'gelu_pytorch_tanh' : 'silu');
  if (name === 'silu' || name === 'swish') return 'silu';
  // Gemma's first files say "gelu" and mean the tanh approximation that it was trained with.
  const approximate = name !== 'gelu' || (architecture === 'gemma' && field === 'hidden_act');
  return approximate ? 'gelu_tanh' : 'gelu';
}

function biasesOf(fields: Fields, architecture: Architecture): LlamaConfig['bias'] {
  const none = {qkv: false, output: false, mlp: false};
  switch (architecture) {
    case 'llama': {
      const attention = fields.boolean('attention_bias', false);
      return {qkv: attention, output: attention, mlp: fields.boolean('mlp_bias', false)};
    }
    case 'qwen3':
    case 'gemma': {
      const attention = fields.boolean('attention_bias', false);
      return {qkv: attention, output: attention, mlp: false};
    }
    case 'qwen2':
      fields.ignore('attention_bias', 'qkv_bias'); // in this family q, k and v have biases whatever the file says
      return {...none, qkv: true};
    case 'mistral':
    case 'mixtral':
    case 'phi3':
      return none;
  }
}

/** One window for all layers or none: layers that differ are refused. */
function slidingWindowOf(fields: Fields, architecture: Architecture, layers: number): number | null {
  if (architecture === 'llama' || architecture === 'gemma') return null;
  const isQwen = architecture === 'qwen2' || architecture === 'qwen3';
  if (isQwen && !fields.boolean('use_sliding_window', false)) {
    fields.ignore('sliding_window', 'max_window_layers');
    return null;
  }
  const isNamed = fields.raw('sliding_window') !== undefined;
  const window = fields.has('sliding_window')
    ? fields.integer('sliding_window', LENGTH)
    : isNamed
      ? null
      : DEFAULTS[architecture].window;
  if (!isQwen) return window;
  const first = fields.integer('max_window_layers', {least: 0, most: LENGTH.most}, 28);
  if (window === null) return null;
  const types = fields.has('layer_types') ? layerTypes(fields, layers) : null;
  const sliding =
    types === null
      ? layers - Math.min(layers, first)
      : types.filter((type) => type === 'sliding_attention').length;
  if (sliding === 0) return null;
  if (sliding === layers) return window;
  throw new ModelError(
    'unsupported-attention',
    `config.json: ${sliding} of ${layers} layers have a sliding window; it must be all or none: use another checkpoint`,
    {sliding, layers},
  );
}

function layerTypes(fields: Fields, layers: number): string[] {
  const types = fields.raw('layer_types');
  const known = ['sliding_attention', 'full_attention'];
  if (
    Array.isArray(types) &&
    types.length === layers &&
    types.every((type) => known.includes(type as string))
  ) {
    return types as string[];
  }
  throw fields.invalid('layer_types', `a list of ${layers} of "${known.join('" and "')}"`);
}

function expertsOf(fields: Fields): {count: number; perToken: number} {
  return {
    count: fields.integer('num_local_experts', COUNT, 8),
    perToken: fields.integer('num_experts_per_tok', COUNT, 2),
  };
}
