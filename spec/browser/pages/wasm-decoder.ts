/** @file The fused decoder of `tfjs-sparsify/wasm` where this module runs: models by URL, and small ones of every architecture. */
import type * as tf from '@tensorflow/tfjs';
import {compressWeights} from '../../../lib/index.js';
import type {LlamaConfig} from '../../../lib/language/config/llama-config.js';
import type {Decoder} from '../../../lib/language/decoding/decoder.js';
import {createGraphDecoder} from '../../../lib/language/decoding/graph-decoder.js';
import {
  createNativeDecoder,
  type NativeDecoderOptions,
} from '../../../lib/language/decoding/native-decoder.js';
import {buildModel} from '../../../lib/language/graph/build-model.js';
import type {LanguageModel} from '../../../lib/language/language-model.js';
import {openLanguageModel} from '../../../lib/language/open-language-model.js';
import {registerWasmKernels} from '../../../lib/wasm.js';
import {decoded} from '../../support/language/decoded.js';
import {randomModel, sparsifyEverything} from '../../support/language/loaded-models.js';
import {randomIds, smallConfigs} from '../../support/language/random-checkpoint.js';
import {useBackend} from './backend.js';

let lm: LanguageModel | undefined;

/** Makes the decoder that of a backend. */
export async function start(backend: 'cpu' | 'wasm', threads: number) {
  await useBackend(backend);
  return registerWasmKernels({threads});
}

/** Opens a model by its URL; the one before is disposed. */
export async function open(url: string): Promise<void> {
  lm?.dispose();
  lm = await openLanguageModel(url, {weights: 'float32'});
}

/** Logits after ids that come so many at once, and the most likely tokens that follow. */
export async function decode(ids: readonly number[], atOnce: number, following: number) {
  const decoder = decoderOf(lm!.model, lm!.config);
  let logits: Float32Array = new Float32Array();
  for (let i = 0; i < ids.length; i += atOnce) logits = await decoder.append(ids.slice(i, i + atOnce));
  const after = [...logits];
  const tokens: number[] = [];
  while (tokens.length < following) {
    tokens.push(logits.indexOf(Math.max(...logits)));
    logits = await decoder.append(tokens.slice(-1));
  }
  decoder.dispose();
  return {after, tokens};
}

/** What the decoder and the layers give for the same model and tokens. */
interface Comparison {
  readonly title: string;
  readonly got: readonly number[];
  readonly expected: readonly number[];
  /** What the layers give once the decoder has the weights of all models in its memory. */
  readonly afterwards: readonly number[];
  /** Masked and all inputs by layer, as both count them. */
  readonly counts: readonly [got: unknown, expected: unknown];
}

/**
 * Decodes seeded tokens with a small model of every architecture.
 *
 * @param kind As it is; with masks everywhere; with masks and INT8 weights; with weights and cache in bfloat16.
 * @param grows Whether the memory is made to grow before the layers compute again.
 */
export async function compareWithLayers(
  kind: 'dense' | 'sparse' | 'int8' | 'bfloat16',
  grows = false,
): Promise<readonly Comparison[]> {
  const comparisons: (() => Promise<Comparison>)[] = [];
  for (const [title, config] of smallConfigs()) {
    const random = await randomModel(config);
    if (kind === 'sparse' || kind === 'int8') sparsifyEverything(random);
    const model = kind === 'int8' ? await compressWeights(random) : random;
    const ids = randomIds(40, config.vocabularySize, 5);
    const graph = createGraphDecoder(model, config);
    const expected = await decoded(graph, ids, [40]);
    const options: NativeDecoderOptions = kind === 'bfloat16' ? {weights: 'bfloat16', cache: 'bfloat16'} : {};
    const decoder = decoderOf(model, config, options);
    const got = await decoded(decoder, ids, [17, 1, 2, 1]);
    const counts = [[...decoder.counts()], [...graph.counts()]] as const;
    comparisons.push(async () => {
      graph.truncate(0);
      const afterwards = await decoded(graph, ids, [40]);
      decoder.dispose();
      graph.dispose();
      return {title, got, expected, afterwards, counts};
    });
  }
  if (grows) await growMemory();
  return Promise.all(comparisons.map((finish) => finish()));
}

/** Decodes with a model whose weights, all zeros, take more than the 256 MB that the memory was made for. */
async function growMemory(): Promise<void> {
  const small = smallConfigs().get('llama')!;
  const config = {...small, vocabularySize: 2.5 * 2 ** 20, tiedEmbedding: true};
  const decoder = decoderOf(buildModel(config), config);
  const logits = await decoder.append([1]);
  if (logits.some((value) => value !== 0)) throw new Error('weights of zeros give logits of zeros');
  decoder.dispose();
}

function decoderOf(model: tf.LayersModel, config: LlamaConfig, options?: NativeDecoderOptions): Decoder {
  const decoder = createNativeDecoder(model, config, options);
  if (decoder === null) throw new Error('there is no decoder in WebAssembly for this model');
  return decoder;
}
