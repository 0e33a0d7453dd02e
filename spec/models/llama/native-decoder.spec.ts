import {expect} from 'chai';
import * as tf from '@tensorflow/tfjs';
import {IgnoredScope, compressWeights, decompressWeights} from '../../../lib/index.js';
import {loadNativeKernels} from '../../../lib/backend/native.js';
import {registeredKernels} from '../../../lib/kernels/tensorflow.js';
import {makeSparsifying, sparsifyingForms, sparsifyingLayers} from '../../../lib/model/dense-layers.js';
import {walkModel} from '../../../lib/model/walk.js';
import {asContainer} from '../../../lib/tfjs.js';
import type {LlamaConfig} from '../../../models/llama/config.js';
import type {Decoder} from '../../../models/llama/decoder.js';
import {buildModel} from '../../../models/llama/graph.js';
import {createGraphDecoder} from '../../../models/llama/graph-decoder.js';
import {openHuggingFaceFolder} from '../../../models/llama/import/huggingface-folder.js';
import {loadWeights} from '../../../models/llama/load-weights.js';
import {createNativeDecoder, type NativeDecoderOptions} from '../../../models/llama/native-decoder.js';
import {stepTogether} from '../../../models/llama/step-together.js';
import {parseConfig} from '../../../models/llama/parse-config.js';
import {packageFolderOf} from '../../../scripts/provision/index.mjs';
import {provisionNative} from '../../../scripts/provision/native.mjs';
import {BACKENDS, disposeModels, withoutLeaks} from '../../backends.js';
import {SMALL_CONFIGS, checkpointOf, randomIds, randomWeights, smallConfigs} from './random-checkpoint.js';
import {rejection} from './rejection.js';
import {argmax, expectedOf, relativeError, TINY_CHECKPOINTS, tinyFolder} from './tiny-checkpoints.js';

/** Of the largest logit: float32 sums in another order, over the depth of a model. */
const TOLERANCE = 1e-5;

/**
 * Root mean square of the error over that of the logits, for numbers rounded to bfloat16: each by at most 2^-9 of
 * itself. Some ten roundings in a row on the way to a logit add up to 2^-9 * sqrt(10) = 0.6 %; models that are small and
 * random average little, and may amplify it.
 */
const BFLOAT16_TOLERANCE = 0.03;

/**
 * Root mean square of the error over that of the logits, where INT8 weights are not rounded to float16: each is moved by at
 * most 2^-11 of itself. Some ten in a row add up to 2^-11 * sqrt(10) = 0.15 %, which random models may amplify.
 */
const FLOAT16_TOLERANCE = 0.005;

async function randomModel(config: LlamaConfig, seed = 3): Promise<tf.LayersModel> {
  const model = buildModel(config);
  await loadWeights(model, checkpointOf(config, randomWeights(config, seed)));
  return model;
}

function native(model: tf.LayersModel, config: LlamaConfig, options?: NativeDecoderOptions): Decoder {
  const decoder = createNativeDecoder(model, config, options);
  if (decoder === null) throw new Error('there is no native decoder');
  return decoder;
}

/** The model with every Dense layer, those of experts too, sparsified at a threshold of its own. */
function sparsify(model: tf.LayersModel): void {
  makeSparsifying(model, new Set(walkModel(asContainer(model)).layers.map(({path}) => path)));
  [...sparsifyingForms(model).values()].forEach((layer, i) =>
    // Some alike, some dense.
    layer.setThreshold(i % 7 === 6 ? -Infinity : 0.05 + (i % 3) * 0.07),
  );
}

/** Logits after each token, [tokens, vocabulary], appended in parts of these lengths, the last of them repeated. */
async function decoded(decoder: Decoder, ids: number[], lengths: number[]): Promise<number[]> {
  const logits: number[] = [];
  for (let start = 0, i = 0; start < ids.length; i++) {
    const end = Math.min(ids.length, start + lengths[Math.min(i, lengths.length - 1)]);
    for (const value of await decoder.appendAll(ids.slice(start, end))) logits.push(value);
    start = end;
  }
  return logits;
}

/**
 * Steps sequences of different length together; they join one after another and leave when their ids end.
 *
 * @param sequences Ids by decoder, whose first half is a prompt, at least one token.
 * @param check Is given the logits after each of the others: of which sequence, and after how many of its ids.
 */
async function stepAll(
  decoders: Decoder[],
  sequences: number[][],
  check: (logits: Float32Array, sequence: number, length: number) => void,
): Promise<void> {
  for (let step = 0, joined = 0; ; step++) {
    if (joined < decoders.length && step % 3 === 0) {
      const {length} = sequences[joined];
      await decoders[joined].append(sequences[joined].slice(0, length >> 1));
      joined++;
    }
    const members = decoders
      .map((_decoder, i) => i)
      .filter((i) => i < joined && decoders[i].length < sequences[i].length)
      .sort((a, b) => (step % 2 === 0 ? a - b : b - a));
    if (members.length === 0 && joined === decoders.length) return;
    if (members.length === 0) continue;
    const steps = members.map((i) => ({decoder: decoders[i], token: sequences[i][decoders[i].length]}));
    const logits = await stepTogether(steps);
    members.forEach((i, at) => check(logits[at], i, decoders[i].length));
  }
}

function maskedBy(decoder: Decoder): number {
  return [...decoder.counts().values()].reduce((sum, {masked}) => sum + masked, 0);
}

/** Root mean square of the difference over that of `expected`. */
function meanError(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  let [difference, size] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    difference += (got[i] - expected[i]) ** 2;
    size += expected[i] ** 2;
  }
  return Math.sqrt(difference / size);
}

/** The median of the tokens' errors: a token that is rounded to another expert is moved by far more. */
function medianError(got: number[], expected: number[], {vocabularySize}: LlamaConfig): number {
  const errors: number[] = [];
  for (let i = 0; i < got.length; i += vocabularySize) {
    errors.push(meanError(got.slice(i, i + vocabularySize), expected.slice(i, i + vocabularySize)));
  }
  return errors.sort((a, b) => a - b)[errors.length >> 1];
}

/** Bytes in memory that belong to this process. */
function residentBytes(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss;
}

describe('createNativeDecoder', () => {
  before(async function () {
    if (!BACKENDS.includes('tensorflow')) this.skip();
    this.timeout(300_000); // built here if it is not yet
    const tfjsNodeDir = packageFolderOf('@tensorflow/tfjs-node', [import.meta.dirname])!;
    const built = await provisionNative({tfjsNodeDir});
    if ('reason' in built) {
      if (built.reason.includes('no C++ compiler') || process.env.SPARSIFY_NATIVE === 'off') this.skip();
      throw new Error(built.reason);
    }
    loadNativeKernels(built.path);
    await tf.setBackend('tensorflow');
  });

  withoutLeaks(() => {
    for (const name of TINY_CHECKPOINTS) {
      it(`continues ${name} as the reference does, token for token`, async () => {
        const checkpoint = await openHuggingFaceFolder(tinyFolder(name));
        const model = buildModel(checkpoint.config);
        await loadWeights(model, checkpoint);
        await checkpoint.close();
        const {input_ids, logits_last, greedy_ids} = expectedOf(name);
        const decoder = native(model, checkpoint.config);
        let logits = await decoder.append(input_ids[0]);
        expect(relativeError(logits, logits_last[0])).to.be.below(2e-5);
        const continuation: number[] = [];
        while (continuation.length < greedy_ids.length) {
          continuation.push(argmax(logits));
          logits = await decoder.append(continuation.slice(-1));
        }
        expect(continuation).to.deep.equal(greedy_ids);
        decoder.dispose();
        disposeModels(model);
      });
    }

    for (const name of TINY_CHECKPOINTS) {
      it(`continues prompts of ${name} together as each alone, token for token`, async () => {
        const checkpoint = await openHuggingFaceFolder(tinyFolder(name));
        const model = buildModel(checkpoint.config);
        await loadWeights(model, checkpoint);
        await checkpoint.close();
        const {input_ids, greedy_ids} = expectedOf(name);
        for (const sparse of [false, true]) {
          if (sparse) sparsify(model);
          // The reference's prompt, and parts of it; every sequence chooses its own tokens.
          const prompts = [0, 3, 1, 5].map((start) => input_ids[0].slice(start));
          const texts: number[][] = [];
          for (const prompt of prompts) {
            const decoder = native(model, checkpoint.config);
            let logits = await decoder.append(prompt);
            const text = [];
            for (let i = 0; i < greedy_ids.length; i++) {
              text.push(argmax(logits));
              logits = await decoder.append(text.slice(-1));
            }
            texts.push(text);
            decoder.dispose();
          }
          if (!sparse) expect(texts[0]).to.deep.equal(greedy_ids);
          const decoders = prompts.map(() => native(model, checkpoint.config));
          const got: number[][] = [];
          for (const [i, decoder] of decoders.entries()) got.push([argmax(await decoder.append(prompts[i]))]);
          for (let step = 0; got.some(({length}) => length < greedy_ids.length); step++) {
            const members = [0, 1, 2, 3].filter((i) => step >= i && got[i].length < greedy_ids.length);
            const logits = await stepTogether(
              members.map((i) => ({decoder: decoders[i], token: got[i].at(-1)!})),
            );
            members.forEach((i, at) => got[i].push(argmax(logits[at])));
          }
          expect(got).to.deep.equal(texts);
          for (const decoder of decoders) decoder.dispose();
        }
        disposeModels(model);
      });
    }

    for (const [title, config] of smallConfigs()) {
      for (const int8 of [false, true]) {
        for (const sparse of [false, true]) {
          it(`steps sequences of ${title} together, ${int8 ? 'INT8' : 'float32'}, ${sparse ? 'masked' : 'dense'}`, async () => {
            const model = await randomModel(config);
            if (int8) await compressWeights(model, {inPlace: true});
            if (sparse) sparsify(model);
            const sequences = [9, 70, 24, 2].map((length, i) =>
              randomIds(length, config.vocabularySize, 7 + i),
            );
            const alone = sequences.map((): number[][] => []); // by length
            const counts: ReturnType<Decoder['counts']>[] = [];
            for (const [i, ids] of sequences.entries()) {
              const decoder = native(model, config);
              await decoder.append(ids.slice(0, ids.length >> 1));
              for (const id of ids.slice(ids.length >> 1))
                alone[i][decoder.length + 1] = [...(await decoder.append([id]))];
              counts.push(decoder.counts());
              decoder.dispose();
            }
            const decoders = sequences.map(() => native(model, config));
            await stepAll(decoders, sequences, (logits, i, length) => {
              expect(relativeError(logits, alone[i][length])).to.be.below(TOLERANCE);
            });
            expect(decoders.map((decoder) => decoder.counts())).to.deep.equal(counts);
            for (const decoder of decoders) decoder.dispose();
            disposeModels(model);
          });
        }
      }
    }

    for (const [title, config] of smallConfigs()) {
      describe(title, () => {
        const ids = randomIds(90, config.vocabularySize, 5);
        for (const sparse of [false, true]) {
          it(`gives what the layers give, ${sparse ? 'masked' : 'dense'}, in parts of any length`, async () => {
            const model = await randomModel(config);
            if (sparse) sparsify(model);
            const graph = createGraphDecoder(model, config);
            const expected = await decoded(graph, ids, [40, 1]);
            for (const lengths of [[90], [1], [70, 1, 2, 13, 1], [3, 30]]) {
              const decoder = native(model, config);
              expect(relativeError(await decoded(decoder, ids, lengths), expected)).to.be.below(TOLERANCE);
              expect(decoder.length).to.equal(90);
              expect(decoder.counts()).to.deep.equal(graph.counts());
              decoder.dispose();
            }
            graph.dispose();
            disposeModels(model);
          });
        }

        it('stays near with bfloat16 weights and cache', async () => {
          const model = await randomModel(config);
          const graph = createGraphDecoder(model, config);
          const expected = await decoded(graph, ids, [90]);
          for (const options of [
            {weights: 'bfloat16', cache: 'float32'},
            {weights: 'float32', cache: 'bfloat16'},
            {weights: 'bfloat16', cache: 'bfloat16'},
          ] as const) {
            const decoder = native(model, config, options);
            const logits = await decoded(decoder, ids, [60, 1]);
            const error = medianError(logits, expected, config);
            expect(error, JSON.stringify(options)).to.be.within(1e-6, BFLOAT16_TOLERANCE);
            decoder.dispose();
          }
          graph.dispose();
          disposeModels(model);
        });
      });
    }

    for (const [title, config] of smallConfigs()) {
      describe(`${title} in INT8`, () => {
        const ids = randomIds(60, config.vocabularySize, 5);
        for (const mode of ['int8_asym', 'int8_sym'] as const) {
          for (const sparse of [false, true]) {
            it(`gives what the weights give that ${mode} stands for, ${sparse ? 'masked' : 'dense'}`, async () => {
              const model = await randomModel(config);
              await compressWeights(model, {mode, inPlace: true});
              if (sparse) sparsify(model);
              const float = decompressWeights(model);
              const graph = createGraphDecoder(float, config);
              const expected = await decoded(graph, ids, [60]);
              for (const [lengths, cache] of [
                [[60], 'float32'],
                [[40, 2, 13, 1], 'float32'],
                [[1], 'bfloat16'],
              ] as const) {
                const decoder = native(model, config, {cache});
                const logits = await decoded(decoder, ids, [...lengths]);
                if (cache === 'float32') {
                  expect(relativeError(logits, expected)).to.be.below(TOLERANCE);
                  expect(decoder.counts()).to.deep.equal(graph.counts());
                  expect(decoder.counts().size > 0).to.equal(sparse);
                } else {
                  // Masked, rounding may move an input across its threshold.
                  const limit = sparse ? 3 * BFLOAT16_TOLERANCE : BFLOAT16_TOLERANCE;
                  expect(medianError(logits, expected, config)).to.be.below(limit);
                }
                decoder.dispose();
              }
              graph.dispose();
              disposeModels(model, float);
            });
          }
        }
      });
    }

    it('reads INT8 beside float32 and bfloat16 kernels', async () => {
      for (const title of ['llama with llama3 scaling', 'phi3', 'mixtral']) {
        const config = smallConfigs().get(title)!;
        const model = await randomModel(config);
        const ignoredScope = new IgnoredScope({
          patterns: [String.raw`.*(embed_tokens|k_proj|1.*down_proj|0.*gate_up_proj|experts\.2\.w[12])`],
          validate: false,
        });
        await compressWeights(model, {ignoredScope, inPlace: true});
        sparsify(model);
        const float = decompressWeights(model);
        const graph = createGraphDecoder(float, config);
        const ids = randomIds(60, config.vocabularySize, 5);
        const expected = await decoded(graph, ids, [60]);
        const decoder = native(model, config);
        expect(relativeError(await decoded(decoder, ids, [30, 1]), expected), title).to.be.below(TOLERANCE);
        const narrow = native(model, config, {weights: 'bfloat16'});
        const error = medianError(await decoded(narrow, ids, [30, 1]), expected, config);
        expect(error, title).to.be.within(1e-6, 3 * BFLOAT16_TOLERANCE);
        for (const made of [graph, decoder, narrow]) made.dispose();
        disposeModels(model, float);
      }
    });

    it('leaves the rounding of each weight out where INT8 kernels are larger', async () => {
      const size = {vocab_size: 700, hidden_size: 288, intermediate_size: 520, num_attention_heads: 9};
      const config = parseConfig({...SMALL_CONFIGS.qwen2, ...size, num_key_value_heads: 3});
      const model = await randomModel(config);
      await compressWeights(model, {inPlace: true});
      const ids = randomIds(40, config.vocabularySize, 5);
      for (const sparse of [false, true]) {
        if (sparse) sparsify(model);
        const float = decompressWeights(model);
        const graph = createGraphDecoder(float, config);
        const expected = await decoded(graph, ids, [40]);
        for (const lengths of [[1], [20, 1, 3]]) {
          const decoder = native(model, config);
          const error = meanError(await decoded(decoder, ids, lengths), expected);
          // An input within rounding of its threshold may fall on the other side.
          expect(error).to.be.within(1e-6, sparse ? 5 * FLOAT16_TOLERANCE : FLOAT16_TOLERANCE);
          if (sparse) expect(maskedBy(decoder) / maskedBy(graph)).to.be.closeTo(1, 1e-3);
          decoder.dispose();
        }
        graph.dispose();
        disposeModels(float);
      }
      disposeModels(model);
    });

    describe('with a random llama', () => {
      const config = smallConfigs().get('llama with llama3 scaling')!;
      const ids = randomIds(40, config.vocabularySize, 9);
      let model: tf.LayersModel;
      beforeEach(async () => {
        model = await randomModel(config);
      });
      afterEach(() => {
        disposeModels(model);
      });

      it('scores as the layers do, one by one and in rows', async () => {
        const graph = createGraphDecoder(model, config);
        const decoder = native(model, config);
        const expected = await graph.score(ids.slice(0, -1), ids.slice(1));
        expect(relativeError(await decoder.score(ids.slice(0, -1), ids.slice(1)), expected)).to.be.below(
          TOLERANCE,
        );
        decoder.truncate(0);
        const single: number[] = [];
        for (let i = 0; i + 1 < ids.length; i++)
          single.push(...(await decoder.score([ids[i]], [ids[i + 1]])));
        expect(relativeError(single, expected)).to.be.below(TOLERANCE);
        graph.dispose();
        decoder.dispose();
      });

      it('computes dense what is to be dense, and counts it as not masked', async () => {
        const whenDense = native(model, config);
        const expected = [...(await whenDense.append(ids))];
        whenDense.dispose();
        sparsify(model);
        const decoder = native(model, config);
        expect(relativeError(await decoder.append(ids, {dense: true}), expected)).to.be.below(TOLERANCE);
        const graph = createGraphDecoder(model, config);
        await graph.append(ids, {dense: true});
        expect(decoder.counts()).to.deep.equal(graph.counts());
        decoder.resetCounts();
        expect([...decoder.counts().values()].every(({total}) => total === 0)).to.equal(true);
        decoder.truncate(0);
        expect(relativeError(await decoder.append(ids), expected)).to.be.above(TOLERANCE);
        graph.dispose();
        decoder.dispose();
      });

      it('goes on from where it was truncated, over and over', async () => {
        const decoder = native(model, config, {cache: 'bfloat16'});
        const whole = [...(await decoder.append(ids))];
        for (const length of [39, 12, 1, 0]) {
          decoder.truncate(length);
          await decoder.append([1, 2, 3, 4, 5, 6, 7]);
          decoder.truncate(length);
          // Beyond rounding to bfloat16, which falls one way or the other.
          expect(meanError(await decoder.append(ids.slice(length)), whole)).to.be.below(BFLOAT16_TOLERANCE);
        }
        decoder.dispose();
      });

      it('keeps decoders of one model apart, also when they are asked at the same time', async () => {
        const other = ids.map((id) => (id + 1) % config.vocabularySize);
        const alone = native(model, config);
        const first = [...(await alone.append(ids))];
        alone.truncate(0);
        const second = [...(await alone.append(other))];
        const [a, b] = [native(model, config), native(model, config)];
        for (let i = 0; i + 1 < ids.length; i++)
          await Promise.all([a.append([ids[i]]), b.append([other[i]])]);
        const [gotA, gotB] = await Promise.all([a.append(ids.slice(-1)), b.append(other.slice(-1))]);
        expect(relativeError(gotA, first)).to.be.below(TOLERANCE);
        expect(relativeError(gotB, second)).to.be.below(TOLERANCE);
        for (const decoder of [alone, a, b]) decoder.dispose();
      });

      it('takes a step with decoders of other models and storage, and keeps others when one cannot', async () => {
        const other = await randomModel(config, 8);
        sparsify(model);
        const [wide, narrow] = [{}, {weights: 'bfloat16', cache: 'bfloat16'}] as const;
        const kinds = [
          [model, wide],
          [other, wide],
          [model, narrow],
          [model, wide],
          [other, narrow],
          [model, narrow],
        ] as const;
        const decoders = kinds.map(([which, options]) => native(which, config, options));
        const expected: number[][] = [];
        for (const [i, decoder] of decoders.entries()) {
          await decoder.append(ids.slice(0, 5 + i));
          expected.push([...(await decoder.append([ids[20 + i]], {dense: i === 3}))]);
          decoder.truncate(5 + i);
        }
        const steps = decoders.map((decoder, i) => ({decoder, token: ids[20 + i], dense: i === 3}));
        const logits = await stepTogether(steps);
        logits.forEach((got, i) => expect(meanError(got, expected[i])).to.be.below(BFLOAT16_TOLERANCE));
        logits
          .slice(0, 2)
          .forEach((got, i) => expect(relativeError(got, expected[i])).to.be.below(TOLERANCE));
        const lengths = decoders.map(({length}) => length);
        const wrong = [...steps.slice(0, 5), {...steps[5], token: config.vocabularySize}];
        await rejection(() => stepTogether(wrong), 'bad-token');
        expect(decoders.map(({length}) => length)).to.deep.equal(lengths);
        const running = decoders[0].append([1]);
        await rejection(() => stepTogether(steps), 'decoder-busy');
        await running;
        decoders[0].dispose();
        await rejection(() => stepTogether(steps), 'decoder-disposed');
        expect(decoders.slice(1, 5).map(({length}) => length)).to.deep.equal(lengths.slice(1, 5));
        for (const decoder of decoders) decoder.dispose();
        disposeModels(other);
      });

      it('leaves the event loop free while it computes', async () => {
        const decoder = native(model, config);
        let turns = 0;
        const timer = setInterval(() => turns++, 0);
        const many = randomIds(1500, config.vocabularySize, 4);
        await decoder.append(many);
        clearInterval(timer);
        expect(turns).to.be.above(2);
        expect(decoder.length).to.equal(1500);
        decoder.dispose();
      });

      for (const weights of ['float32', 'bfloat16'] as const) {
        it(`takes over ${weights} weights and thresholds that are replaced`, async () => {
          const decoder = native(model, config, {weights});
          const neighbour = native(model, config, {weights});
          await decoder.append(ids.slice(0, 10));
          const layers = ['model.layers.1.mlp.up_proj', 'lm_head', 'model.norm'].map((name) =>
            model.getLayer(name),
          );
          for (const layer of layers)
            tf.tidy(() => void layer.weights[0].write(tf.mul(layer.weights[0].read(), 0.5)));
          decoder.truncate(0);
          const [replaced] = await Promise.all([decoder.append(ids), neighbour.append(ids)]);
          const graph = createGraphDecoder(model, config);
          const limit = weights === 'float32' ? TOLERANCE : 10 * BFLOAT16_TOLERANCE;
          expect(relativeError(replaced, await graph.append(ids))).to.be.below(limit);
          graph.dispose();

          sparsify(model);
          decoder.truncate(0);
          const masked = createGraphDecoder(model, config);
          expect(relativeError(await decoder.append(ids), await masked.append(ids))).to.be.below(limit);
          for (const layer of sparsifyingLayers(model).values()) layer.setThreshold(0.2);
          decoder.truncate(0);
          masked.truncate(0);
          expect(relativeError(await decoder.append(ids), await masked.append(ids))).to.be.below(limit);
          for (const made of [masked, decoder, neighbour]) made.dispose();
        });
      }

      it('refuses wrong use and stays usable', async () => {
        const decoder = native(model, config);
        for (const wrong of [[config.vocabularySize], [-1], [1.5], [NaN]]) {
          await rejection(() => decoder.append(wrong), 'bad-token');
        }
        await rejection(() => decoder.append([]), 'empty-input');
        await rejection(() => decoder.score([1, 2], [1]), 'wrong-length');
        const first = decoder.append([1]);
        await rejection(() => decoder.append([2]), 'decoder-busy');
        await first;
        expect(decoder.length).to.equal(1);
        for (const length of [2, -1, 0.5]) expect(() => decoder.truncate(length)).to.throw(/holds 1/);
        decoder.dispose();
        decoder.dispose();
        await rejection(() => decoder.append([1]), 'decoder-disposed');
        expect(() => decoder.counts()).to.throw(/disposed/);
      });

      it('ends between two chunks when it is disposed meanwhile', async () => {
        const decoder = native(model, config);
        const running = decoder.append(randomIds(5000, config.vocabularySize, 4));
        decoder.dispose();
        await rejection(() => running, 'decoder-disposed');
      });
    });

    it('keeps NaN, and leaves out what a masked weight row holds', async () => {
      const config = smallConfigs().get('qwen2')!;
      const model = await randomModel(config);
      makeSparsifying(model, new Set(['model.layers.0.mlp.down_proj']));
      const [layer] = sparsifyingLayers(model).values();
      const kernel = layer.kernel!;
      const decoder = native(model, config);
      layer.setThreshold(1e9);
      const everythingMasked = [...(await decoder.append([1]))];
      tf.tidy(() => void kernel.write(tf.fill(kernel.shape as [number, number], NaN)));
      decoder.truncate(0);
      expect([...(await decoder.append([1]))]).to.deep.equal(everythingMasked);
      layer.setThreshold(-Infinity);
      decoder.truncate(0);
      expect(Number.isNaN((await decoder.append([1]))[0])).to.equal(true);
      decoder.dispose();
      disposeModels(model);
    });

    it('frees what decoders and their tokens took', async () => {
      const config = smallConfigs().get('mixtral')!;
      const model = await randomModel(config);
      const ids = randomIds(600, config.vocabularySize, 4);
      const round = async (): Promise<void> => {
        for (const weights of ['float32', 'bfloat16'] as const) {
          const decoder = native(model, config, {weights});
          await decoder.append(ids);
          decoder.dispose();
        }
      };
      for (let i = 0; i < 20; i++) await round();
      const before = residentBytes();
      for (let i = 0; i < 60; i++) await round();
      // One round takes 3 MB and more; the allocator's own play is far less than 60 of them.
      expect(residentBytes() - before).to.be.below(40e6);
      disposeModels(model);
    });

    it('is none for a model that is another than its layers say', async () => {
      const config = smallConfigs().get('llama')!;
      const model = await randomModel(config);
      expect(createNativeDecoder(model, {...config, layers: 3})).to.equal(null);
      expect(createNativeDecoder(model, {...config, tiedEmbedding: true})).to.equal(null);
      disposeModels(model);
    });
  });

  it('is none on another backend', async () => {
    expect(registeredKernels()).to.not.equal(undefined);
    await tf.setBackend('cpu');
    const config = smallConfigs().get('llama')!;
    const model = await randomModel(config);
    expect(createNativeDecoder(model, config)).to.equal(null);
    disposeModels(model);
    await tf.setBackend('tensorflow');
  });
});
