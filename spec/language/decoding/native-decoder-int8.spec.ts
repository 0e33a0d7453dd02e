import {expect} from 'chai';
import {IgnoredScope, compressWeights, decompressWeights} from '../../../lib/index.js';
import type {Decoder} from '../../../lib/language/decoding/decoder.js';
import {createGraphDecoder} from '../../../lib/language/decoding/graph-decoder.js';
import {parseConfig} from '../../../lib/language/config/parse-config.js';
import {disposeModels, withoutLeaks} from '../../support/backends.js';
import {randomModel, sparsifyEverything} from '../../support/language/loaded-models.js';
import {
  BFLOAT16_TOLERANCE,
  FLOAT16_TOLERANCE,
  TOLERANCE,
  meanError,
  medianError,
} from '../../support/language/logit-errors.js';
import {decoded} from '../../support/language/decoded.js';
import {describeNative, native} from '../../support/language/native-decoders.js';
import {SMALL_CONFIGS, randomIds, smallConfigs} from '../../support/language/random-checkpoint.js';
import {relativeError} from '../../support/language/tiny-checkpoints.js';

function maskedBy(decoder: Decoder): number {
  return [...decoder.counts().values()].reduce((sum, {masked}) => sum + masked, 0);
}

describeNative('a native decoder of INT8 weights', () => {
  withoutLeaks(() => {
    for (const [title, config] of smallConfigs()) {
      describe(`${title} in INT8`, () => {
        const ids = randomIds(60, config.vocabularySize, 5);
        for (const mode of ['int8_asym', 'int8_sym'] as const) {
          for (const sparse of [false, true]) {
            it(`gives what the weights give that ${mode} stands for, ${sparse ? 'masked' : 'dense'}`, async () => {
              const model = await randomModel(config);
              await compressWeights(model, {mode, inPlace: true});
              if (sparse) sparsifyEverything(model);
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
        sparsifyEverything(model);
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
        if (sparse) sparsifyEverything(model);
        const float = decompressWeights(model);
        const graph = createGraphDecoder(float, config);
        const expected = await decoded(graph, ids, [40]);
        for (const lengths of [[1], [20, 1, 3]]) {
          const decoder = native(model, config);
          const error = meanError(await decoded(decoder, ids, lengths), expected);
          // An input within rounding of its threshold may fall on the other side.
          expect(error).to.be.within(1e-6, sparse ? 5 * FLOAT16_TOLERANCE : FLOAT16_TOLERANCE);
          if (sparse) expect(maskedBy(decoder) / maskedBy(graph)).to.be.closeTo(1, 2e-3);
          decoder.dispose();
        }
        graph.dispose();
        disposeModels(float);
      }
      disposeModels(model);
    });
  });
});
