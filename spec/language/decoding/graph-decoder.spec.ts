import {expect} from 'chai';
import * as tf from '@tensorflow/tfjs';
import {ModelError} from '../../../lib/errors.js';
import {createGraphDecoder} from '../../../lib/language/decoding/graph-decoder.js';
import {BACKENDS, disposeModels, onEveryBackend, withoutLeaks} from '../../support/backends.js';
import {itDecodes} from '../../support/language/decoder-contract.js';
import {fullForward, randomModel} from '../../support/language/loaded-models.js';
import {TOLERANCE} from '../../support/language/logit-errors.js';
import {randomIds, smallConfigs} from '../../support/language/random-checkpoint.js';
import {rejection} from '../../support/rejection.js';
import {relativeError} from '../../support/language/tiny-checkpoints.js';

describe('createGraphDecoder', () => {
  onEveryBackend(() => {
    itDecodes(createGraphDecoder);
  });

  describe(`on ${BACKENDS[BACKENDS.length - 1]}`, () => {
    before(async () => {
      await tf.setBackend(BACKENDS[BACKENDS.length - 1]);
    });
    withoutLeaks(() => {
      for (const title of ['qwen2', 'mistral']) {
        it(`cuts long inputs of ${title} into passes, with and without a cache`, async () => {
          const config = smallConfigs().get(title)!;
          const model = await randomModel(config);
          const ids = randomIds(600, config.vocabularySize, 12);
          const full = fullForward(model, ids); // 512 queries and 88
          const decoder = createGraphDecoder(model, config);
          expect(relativeError(await decoder.appendAll(ids), full)).to.be.below(TOLERANCE); // 512 tokens and 88
          decoder.truncate(0);
          const halves = [
            ...(await decoder.appendAll(ids.slice(0, 300))),
            ...(await decoder.appendAll(ids.slice(300))),
          ];
          expect(relativeError(halves, full)).to.be.below(TOLERANCE);
          decoder.dispose();
          disposeModels(model);
        });
      }

      it('frees everything if it is disposed between two passes', async () => {
        const config = smallConfigs().get('llama')!;
        const model = await randomModel(config);
        const decoder = createGraphDecoder(model, config);
        const call = decoder.append(randomIds(600, config.vocabularySize, 13));
        decoder.dispose();
        await rejection(() => call, 'decoder-disposed');
        disposeModels(model);
      });
    });
  });

  it('refuses a model of another kind', () => {
    const model = tf.sequential({layers: [tf.layers.dense({units: 1, inputShape: [1]})]});
    expect(() => createGraphDecoder(model, smallConfigs().get('llama')!)).to.throw(
      ModelError,
      /model\.norm|lm_head/,
    );
    model.dispose();
  });
});
