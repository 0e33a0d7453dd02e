/** @file Language models with INT8 weights, head and embedding included. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {compressWeights, decompressWeights, inspectWeights} from '../../lib/compress.js';
import {registerLlamaLayers} from '../../lib/language/graph/layers/register-llama-layers.js';
import {disposeModels, onEveryBackend} from '../support/backends.js';
import {savedArtifacts} from '../support/saved-artifacts.js';
import {tinyModel} from '../support/language/tiny-model.js';
import {expectedOf, relativeError, TINY_CHECKPOINTS} from '../support/language/tiny-checkpoints.js';

/** Of the largest logit, between INT8 layers and the same weights as float32: sums in another order. */
const TOLERANCE = 2e-5;

function logits(model: tf.LayersModel, ids: tf.Tensor): Float32Array {
  return tf.tidy(() => (model.apply(ids) as tf.Tensor).dataSync() as Float32Array);
}

describe('compressWeights on language models', () => {
  onEveryBackend(() => {
    for (const name of TINY_CHECKPOINTS) {
      it(`computes ${name} as its dequantized weights do, saved and loaded too`, async () => {
        const {model} = await tinyModel(name);
        const [{input_ids: ids}] = [expectedOf(name)];
        const input = tf.tensor2d(ids, undefined, 'int32');
        const compressed = await compressWeights(model);
        expect(inspectWeights(compressed).every(({format}) => format === 'int8_asym')).to.equal(true);
        const float = decompressWeights(compressed);
        const actual = logits(compressed, input);
        expect(relativeError(actual, logits(float, input))).to.be.at.most(TOLERANCE);

        registerLlamaLayers();
        const loaded = await tf.loadLayersModel(tf.io.fromMemory(await savedArtifacts(compressed)));
        expect(logits(loaded, input)).to.deep.equal(actual);
        disposeModels(model, compressed, float, loaded);
        input.dispose();
      });
    }
  });
});
