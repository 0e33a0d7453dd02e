import {expect} from 'chai';
import {compressWeights, decompressWeights} from '../../../lib/index.js';
import {createGraphDecoder} from '../../../lib/language/decoding/graph-decoder.js';
import {disposeModels, withoutLeaks} from '../../support/backends.js';
import {randomModel, sparsifyEverything} from '../../support/language/loaded-models.js';
import {TOLERANCE} from '../../support/language/logit-errors.js';
import {decoded} from '../../support/language/decoded.js';
import {describeNative, native} from '../../support/language/native-decoders.js';
import {randomIds, smallConfigs} from '../../support/language/random-checkpoint.js';
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
  });
});
