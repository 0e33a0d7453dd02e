import type * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {compressWeights, decompressWeights} from '../../../lib/index.js';
import {parseConfig} from '../../../lib/language/config/parse-config.js';
import {createGraphDecoder} from '../../../lib/language/decoding/graph-decoder.js';
import {DENSE_KERNEL} from '../../../lib/layers/compressed-layers.js';
import {compressibleWeights} from '../../../lib/model/compressible.js';
import {quantizedWeight, replaceWeight} from '../../../lib/model/replace-weights.js';
import {INT4_KINDS, type Int4Kind} from '../../../lib/quantization/int4.js';
import {disposeModels, withoutLeaks} from '../../support/backends.js';
import {int4Values} from '../../support/kernels/int4-matrix.js';
import {randomModel, sparsifyEverything} from '../../support/language/loaded-models.js';
import {INPUTS_TOLERANCE, TOLERANCE, meanError} from '../../support/language/logit-errors.js';
import {decoded} from '../../support/language/decoded.js';
import {describeNative, native} from '../../support/language/native-decoders.js';
import {SMALL_CONFIGS, randomIds, smallConfigs} from '../../support/language/random-checkpoint.js';
import {relativeError} from '../../support/language/tiny-checkpoints.js';

describeNative('a native decoder of INT4 weights', () => {
  withoutLeaks(() => {
    for (const [title, config] of smallConfigs()) {
      for (const mode of ['int4_asym', 'int4_sym'] as const) {
        for (const sparse of [false, true]) {
          // Kernels of these models are so small that they are multiplied as defined.
          it(`gives for ${title} what the weights give that ${mode} stands for, ${sparse ? 'masked' : 'dense'}`, async () => {
            const model = await randomModel(config);
            await compressWeights(model, {mode, groupSize: 8, allLayers: true, inPlace: true});
            if (sparse) sparsifyEverything(model);
            const float = decompressWeights(model);
            const graph = createGraphDecoder(float, config);
            const ids = randomIds(60, config.vocabularySize, 5);
            const expected = await decoded(graph, ids, [60]);
            for (const lengths of [[60], [40, 2, 13, 1]]) {
              const decoder = native(model, config);
              expect(relativeError(await decoded(decoder, ids, lengths), expected)).to.be.below(TOLERANCE);
              expect(decoder.counts()).to.deep.equal(graph.counts());
              decoder.dispose();
            }
            graph.dispose();
            disposeModels(model, float);
          });
        }
      }
    }

    it('rounds inputs to 8 bits where INT4 kernels are larger', async () => {
      const size = {vocab_size: 704, hidden_size: 288, intermediate_size: 544, num_attention_heads: 9};
      const config = parseConfig({...SMALL_CONFIGS.qwen2, ...size, num_key_value_heads: 3});
      const ids = randomIds(40, config.vocabularySize, 5);
      for (const kind of INT4_KINDS) {
        const model = await randomModel(config);
        makeInt4(model, kind);
        for (const sparse of [false, true]) {
          if (sparse) sparsifyEverything(model);
          const float = decompressWeights(model);
          const graph = createGraphDecoder(float, config);
          const expected = await decoded(graph, ids, [40]);
          for (const lengths of [[1], [20, 1, 3]]) {
            const decoder = native(model, config);
            const error = meanError(await decoded(decoder, ids, lengths), expected);
            // An input within rounding of its threshold may fall on the other side.
            const limit = sparse ? 3 * INPUTS_TOLERANCE : INPUTS_TOLERANCE;
            expect(error, `${kind}, ${lengths}`).to.be.within(1e-4, limit);
            decoder.dispose();
          }
          graph.dispose();
          disposeModels(float);
        }
        disposeModels(model);
      }
    });
  });
});

/** Gives all kernels seeded INT4 values in groups of 32. */
function makeInt4(model: tf.LayersModel, kind: Int4Kind): void {
  for (const [seed, placed] of compressibleWeights(model).entries()) {
    const [rows, columns] = placed.variable.shape as number[];
    if (placed.weight !== DENSE_KERNEL) continue;
    const matrix = int4Values({rows, columns, groupSize: 32}, kind, seed, 1 / Math.sqrt(rows));
    replaceWeight(placed, quantizedWeight(placed, matrix));
  }
}
