/**
 * @file Times decoding of one token of a `tf.LayersModel` of Llama-2-7B's shape through tfjs-node-gpu, by the model's own
 * decoder: random weights made on the device, in float32, bfloat16 and INT8, dense and with half of the inputs of all
 * projections but the head masked. The thresholds are found by what they mask; dense and masked take turns.
 */
import * as tf from '@tensorflow/tfjs';
import {median} from '../../../lib/eval/latency.js';
import type {TensorflowBackend} from '../../../lib/kernels/tensorflow-backend.js';
import {compressibleWeights, type PlacedWeight} from '../../../lib/model/compressible.js';
import {denseLayers, makeSparsifying, sparsifyingDenseLayers} from '../../../lib/model/dense-layers.js';
import {asLayerVariable} from '../../../lib/layers/compressed-weight.js';
import {asInt8} from '../../../lib/layers/int8-weight.js';
import {replaceWeight, unfilledWeight} from '../../../lib/model/replace-weights.js';
import type {LayerVariable} from '../../../lib/tfjs.js';
import type {LlamaConfig} from '../../../lib/language/config/llama-config.js';
import type {Decoder} from '../../../lib/language/decoding/decoder.js';
import {buildModel} from '../../../lib/language/graph/build-model.js';
import {HEAD_NAME} from '../../../lib/language/graph/layers/tied-embedding.js';
import {
  createNativeDecoder,
  type NativeDecoderOptions,
} from '../../../lib/language/decoding/native-decoder.js';
import {parseConfig} from '../../../lib/language/config/parse-config.js';

const CONFIG = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 32,
  vocab_size: 32000,
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-5,
  hidden_act: 'silu',
  tie_word_embeddings: false,
};
const SPARSITY = 0.5;
const SEARCHES = 40;
const CONTEXT = 64;
const TOKENS = 24;
const ROUNDS = 5;

export interface DecodingRow {
  readonly weights: 'float32' | 'bfloat16' | 'int8';
  /** Share of the inputs of all projections but the head that was masked. */
  readonly sparsity: number;
  readonly msAToken: number;
  /** Time of a dense token of the same weights over it. */
  readonly vsDense: number;
}

/** Takes 27 GB of the device's memory for the float32 weights and 14 GB more for bfloat16. */
export async function measureDecoding(): Promise<DecodingRow[]> {
  const config = parseConfig(CONFIG);
  const model = buildModel(config);
  for (const placed of compressibleWeights(model)) fill(placed.variable);
  makeSparsifying(model, new Set(denseLayers(model).map(({path}) => path)));
  const rows = [
    ...(await measureWeights(model, config, 'float32', {})),
    ...(await measureWeights(model, config, 'bfloat16', {weights: 'bfloat16', cache: 'bfloat16'})),
  ];
  for (const placed of compressibleWeights(model)) replaceByRandomInt8(placed);
  rows.push(...(await measureWeights(model, config, 'int8', {})));
  model.dispose();
  return rows;
}

async function measureWeights(
  model: tf.LayersModel,
  config: LlamaConfig,
  weights: DecodingRow['weights'],
  options: NativeDecoderOptions,
): Promise<DecodingRow[]> {
  const decoder = createNativeDecoder(model, config, options);
  if (decoder === null) throw new Error('there is no fused decoder: run npx tfjs-sparsify doctor');
  try {
    await step(decoder, 0, CONTEXT, true);
    const sparsity = await maskHalf(model, decoder);
    const times: {dense: number[]; masked: number[]} = {dense: [], masked: []};
    for (let round = 0; round < ROUNDS; round++) {
      times.dense.push(await time(decoder, true));
      times.masked.push(await time(decoder, false));
    }
    const [dense, masked] = [median(times.dense), median(times.masked)];
    return [
      {weights, sparsity: 0, msAToken: dense, vsDense: 1},
      {weights, sparsity, msAToken: masked, vsDense: dense / masked},
    ];
  } finally {
    decoder.dispose();
  }
}

/** Milliseconds a token. */
async function time(decoder: Decoder, dense: boolean): Promise<number> {
  decoder.truncate(CONTEXT);
  await step(decoder, 0, 1, dense);
  const start = performance.now();
  await step(decoder, 1, TOKENS, dense);
  return (performance.now() - start) / TOKENS;
}

/** Token by token. */
async function step(decoder: Decoder, first: number, count: number, dense: boolean): Promise<void> {
  for (let i = first; i < first + count; i++) {
    const logits = await decoder.append([(i * 31 + 7) % CONFIG.vocab_size], {dense});
    if (!Number.isFinite(logits[i])) throw new Error(`logit ${i} is ${logits[i]}`);
  }
}

/** Sets thresholds that mask half of the inputs of what is decoded here, and returns the share that they mask. */
async function maskHalf(model: tf.LayersModel, decoder: Decoder): Promise<number> {
  const layers = [...sparsifyingDenseLayers(model)].filter(([path]) => path !== HEAD_NAME);
  const thresholds = new Map(layers.map(([path]) => [path, 0.5]));
  const mask = () => {
    for (const [path, layer] of layers) layer.setThreshold(thresholds.get(path)!);
  };
  const count = async (tokens: number) => {
    decoder.truncate(CONTEXT);
    decoder.resetCounts();
    await step(decoder, 0, tokens, false);
    return decoder.counts();
  };
  for (let i = 0; i < SEARCHES; i++) {
    mask();
    for (const [path, {masked, total}] of await count(2)) {
      const threshold = thresholds.get(path);
      if (threshold !== undefined)
        thresholds.set(path, threshold * Math.exp(1.5 * (SPARSITY - masked / total)));
    }
  }
  mask();
  const counts = [...(await count(TOKENS))].filter(([path]) => path !== HEAD_NAME);
  const sum = (values: number[]) => values.reduce((a, b) => a + b);
  return sum(counts.map(([, {masked}]) => masked)) / sum(counts.map(([, {total}]) => total));
}

/** Uniform numbers, as large as keeps the size of what goes through. */
function fill(variable: LayerVariable): void {
  const [inputs, units] = variable.shape as [number, number];
  const size = Math.sqrt(3 / inputs);
  tf.tidy(() => {
    variable.write(tf.mul(tf.sub(uniform([inputs, units]), 0.5), 2 * size));
  });
}

/** In [0, 1), by TensorFlow's own op: tf.randomUniform makes numbers on the host, which takes minutes for as many. */
function uniform(shape: [number, number]): tf.Tensor {
  const backend = tf.backend() as unknown as TensorflowBackend & {binding: {TF_INT32: number}};
  const {TF_ATTR_TYPE, TF_FLOAT, TF_INT32} = backend.binding;
  return backend.executeSingleOutput(
    'RandomUniform',
    [
      {name: 'dtype', type: TF_ATTR_TYPE, value: TF_FLOAT},
      {name: 'T', type: TF_ATTR_TYPE, value: TF_INT32},
    ],
    [tf.tensor1d(shape, 'int32')],
  );
}

/** In place of a float32 weight one of random bytes. They are the same for all weights, each in memory of its own. */
function replaceByRandomInt8(placed: PlacedWeight): void {
  const int8 = unfilledWeight(placed, {int8: 'asym'});
  const {values, scale} = asInt8(asLayerVariable(int8))!.variables;
  const [rows, words] = values.shape as [number, number];
  const bytes = randomWords(rows * words);
  tf.tidy(() => {
    values.write(tf.tensor2d(bytes, [rows, words], 'int32'));
    scale.write(tf.fill(scale.shape as number[], Math.sqrt(3 / rows) / 128));
  });
  replaceWeight(placed, int8);
}

/** xorshift32; the longest so far is kept, shorter ones are its beginning. */
let made = new Int32Array();
function randomWords(count: number): Int32Array {
  if (made.length < count) {
    made = new Int32Array(count);
    let state = 0x9e3779b9;
    for (let i = 0; i < count; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      made[i] = state;
    }
  }
  return made.subarray(0, count);
}
