import {expect} from 'chai';
import * as tf from '@tensorflow/tfjs';
import {makeSparsifying, maskingLayers} from '../../../lib/model/dense-layers.js';
import {createGraphDecoder} from '../../../lib/language/decoding/graph-decoder.js';
import {createNativeDecoder} from '../../../lib/language/decoding/native-decoder.js';
import {disposeModels, withoutLeaks} from '../../support/backends.js';
import {itDecodes} from '../../support/language/decoder-contract.js';
import {randomModel, sparsifyEverything} from '../../support/language/loaded-models.js';
import {BFLOAT16_TOLERANCE, TOLERANCE, medianError} from '../../support/language/logit-errors.js';
import {decoded} from '../../support/language/decoded.js';
import {describeNative, native} from '../../support/language/native-decoders.js';
import {randomIds, smallConfigs} from '../../support/language/random-checkpoint.js';
import {relativeError} from '../../support/language/tiny-checkpoints.js';

describeNative('createNativeDecoder', () => {
  withoutLeaks(() => {
    itDecodes(native);

    for (const [title, config] of smallConfigs()) {
      describe(title, () => {
        const ids = randomIds(90, config.vocabularySize, 5);
        for (const sparse of [false, true]) {
          it(`gives what the layers give, ${sparse ? 'masked' : 'dense'}, in parts of any length`, async () => {
            const model = await randomModel(config);
            if (sparse) sparsifyEverything(model);
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

    it('keeps NaN, and leaves out what a masked weight row holds', async () => {
      const config = smallConfigs().get('qwen2')!;
      const model = await randomModel(config);
      makeSparsifying(model, new Set(['model.layers.0.mlp.down_proj']));
      const [layer] = maskingLayers(model).values();
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

    it('is none for a model that is another than its layers say', async () => {
      const config = smallConfigs().get('llama')!;
      const model = await randomModel(config);
      expect(createNativeDecoder(model, {...config, layers: 3})).to.equal(null);
      expect(createNativeDecoder(model, {...config, tiedEmbedding: true})).to.equal(null);
      disposeModels(model);
    });
  });

  it('is none on another backend', async () => {
    const own = tf.getBackend();
    const config = smallConfigs().get('llama')!;
    const model = await randomModel(config);
    tf.registerBackend('another', tf.findBackendFactory('cpu'));
    await tf.setBackend('another');
    try {
      expect(createNativeDecoder(model, config)).to.equal(null);
    } finally {
      await tf.setBackend(own);
      tf.removeBackend('another');
      disposeModels(model);
    }
  });
});
