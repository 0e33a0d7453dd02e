/**
 * @file The fused decoder on tfjs-node-gpu, against the layers on the same backend and against reference vectors of a real
 * model. Run by `npm run test:gpu` on a machine with an NVIDIA GPU; not among the specs of `npm test`.
 */
import {expect} from 'chai';
import type * as tf from '@tensorflow/tfjs';
import {loadBackend} from '../../lib/backend/load.js';
import {compressWeights} from '../../lib/index.js';
import {makeSparsifying, sparsifyingDenseLayers} from '../../lib/model/dense-layers.js';
import {walkModel} from '../../lib/model/walk.js';
import {asContainer} from '../../lib/tfjs.js';
import type {LlamaConfig} from '../../lib/language/config/llama-config.js';
import type {Decoder} from '../../lib/language/decoding/decoder.js';
import {buildModel} from '../../lib/language/graph/build-model.js';
import {createGraphDecoder} from '../../lib/language/decoding/graph-decoder.js';
import {loadLanguageModel, type LanguageModel} from '../../lib/language/index.js';
import {createNativeDecoder, type NativeDecoderOptions} from '../../lib/language/decoding/native-decoder.js';
import {randomModel} from '../support/language/loaded-models.js';
import {randomIds, smallConfigs} from '../support/language/random-checkpoint.js';
import {smollm2, smollm2Fixture} from '../support/language/smollm2.js';
import {argmax, relativeError} from '../support/language/tiny-checkpoints.js';

/** Of the largest logit: float32 sums in another order, over the depth of a model, with TF32 off. */
const TOLERANCE = 1e-4;
/** Of the largest logit: numbers rounded to bfloat16 are off by 2^-9 of themselves, ten in a row by 0.6 % on average. */
const BFLOAT16_TOLERANCE = 0.05;

/** Of the largest logit: the layers round INT8 weights to float16, which moves each by up to 2^-11 of itself. */
const FLOAT16_TOLERANCE = 0.005;

const LENGTHS = [9, 1, 1, 4, 1];

function native(model: tf.LayersModel, config: LlamaConfig, options?: NativeDecoderOptions): Decoder {
  const decoder = createNativeDecoder(model, config, options);
  if (decoder === null) throw new Error('there is no fused decoder');
  return decoder;
}

/** Logits after each token, appended in parts. */
async function decoded(decoder: Decoder, ids: readonly number[]): Promise<Float32Array> {
  const parts: Float32Array[] = [];
  let start = 0;
  for (const length of LENGTHS) {
    parts.push(Float32Array.from(await decoder.appendAll(ids.slice(start, start + length))));
    start += length;
  }
  decoder.dispose();
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

describe('the decoder on a GPU', function () {
  this.timeout(300_000);

  before(async () => {
    // Read when cuBLAS is loaded.
    process.env.NVIDIA_TF32_OVERRIDE = '0';
    const {native: addon} = await loadBackend({name: 'node-gpu'});
    if (addon !== undefined && 'reason' in addon) throw new Error(addon.reason);
  });

  for (const [title, config] of smallConfigs()) {
    if (config.experts !== null) {
      it(`leaves ${title} to the layers`, () => {
        const model = buildModel(config);
        expect(createNativeDecoder(model, config)).to.equal(null);
        model.dispose();
      });
      continue;
    }

    it(`computes ${title} as the layers do: dense, masked, in bfloat16, in INT8 and INT4`, async () => {
      const model = await randomModel(config);
      const ids = randomIds(16, config.vocabularySize, 5);
      const dense = await decoded(createGraphDecoder(model, config), ids);
      expect(relativeError(await decoded(native(model, config), ids), dense), 'dense').to.be.below(TOLERANCE);
      for (const options of [{cache: 'bfloat16'}, {weights: 'bfloat16'}] as const) {
        const rounded = await decoded(native(model, config, options), ids);
        expect(relativeError(rounded, dense), JSON.stringify(options)).to.be.below(BFLOAT16_TOLERANCE);
      }
      const int8 = await compressWeights(model);
      const quantized = await decoded(createGraphDecoder(int8, config), ids);
      expect(relativeError(await decoded(native(int8, config), ids), quantized), 'INT8').to.be.below(
        FLOAT16_TOLERANCE,
      );
      int8.dispose();
      for (const mode of ['int4_asym', 'int4_sym'] as const) {
        const int4 = await compressWeights(model, {mode, groupSize: 8, allLayers: true});
        const expected = await decoded(createGraphDecoder(int4, config), ids);
        // Both make the same weights.
        expect(relativeError(await decoded(native(int4, config), ids), expected), mode).to.be.below(
          TOLERANCE,
        );
        int4.dispose();
      }
      makeSparsifying(model, new Set(walkModel(asContainer(model)).layers.map(({path}) => path)));
      [...sparsifyingDenseLayers(model).values()].forEach((layer, i) =>
        layer.setThreshold(i % 7 === 6 ? -Infinity : 0.05 + (i % 3) * 0.07),
      );
      const masked = await decoded(createGraphDecoder(model, config), ids);
      expect(relativeError(await decoded(native(model, config), ids), masked), 'masked').to.be.below(
        TOLERANCE,
      );
      model.dispose();
    });
  }

  describe('SmolLM2-135M-Instruct', () => {
    let lm: LanguageModel;
    before(async () => {
      lm = await loadLanguageModel(smollm2(), {weights: 'float32'});
    });
    after(() => lm.dispose());

    it('has the reference logits, many tokens at once and token by token', async () => {
      const {cases} = smollm2Fixture('forward') as {
        cases: {ids: number[]; top20_ids: number[]; top20_logits: number[]; logits_absmax: number}[];
      };
      for (const {ids, top20_ids, top20_logits, logits_absmax} of cases) {
        for (const atOnce of [ids.length, 1]) {
          const decoder = native(lm.model, lm.config);
          let logits: Float32Array = new Float32Array();
          for (let i = 0; i < ids.length; i += atOnce)
            logits = await decoder.append(ids.slice(i, i + atOnce));
          top20_ids.forEach((id, i) =>
            expect(logits[id]).to.be.closeTo(top20_logits[i], TOLERANCE * logits_absmax),
          );
          decoder.dispose();
        }
      }
    });

    it('generates the reference text', async () => {
      const {cases} = smollm2Fixture('greedy') as {cases: {ids: number[]; new_ids: number[]}[]};
      for (const {ids, new_ids} of cases) {
        const decoder = native(lm.model, lm.config);
        const generated: number[] = [];
        for (let logits = await decoder.append(ids); generated.length < new_ids.length;) {
          generated.push(argmax(logits));
          logits = await decoder.append(generated.slice(-1));
        }
        expect(generated).to.deep.equal(new_ids);
        decoder.dispose();
      }
    });
  });
});
