import type * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {bytesPerToken} from '../../../lib/language/evaluation/bytes-per-token.js';
import type {LlamaConfig} from '../../../lib/language/index.js';
import {maskingLayers} from '../../../lib/model/dense-layers.js';
import {sparsifyEverything} from '../../support/language/loaded-models.js';
import {tinyModel} from '../../support/language/tiny-model.js';

/** Weights of the Dense layers that a token reads. */
function weightsOf({
  hiddenSize,
  intermediateSize,
  layers,
  heads,
  keyHeads,
  headSize,
  vocabularySize,
  experts,
}: LlamaConfig) {
  const attention = hiddenSize * headSize * (2 * heads + 2 * keyHeads);
  const mlp = 3 * hiddenSize * intermediateSize * (experts?.perToken ?? 1);
  const gate = hiddenSize * (experts?.count ?? 0);
  return layers * (attention + mlp + gate) + hiddenSize * vocabularySize;
}

describe('bytes that a token reads', () => {
  for (const name of ['llama3-gqa-rope', 'smollm-tied-bf16', 'mixtral-moe']) {
    describe(name, () => {
      let model: tf.LayersModel;
      let config: LlamaConfig;
      beforeEach(async () => {
        ({model, config} = await tinyModel(name));
      });
      afterEach(() => void model.dispose());

      it('are those of all kernels, of experts as many as a token is sent to', () => {
        const bytes = 4 * weightsOf(config);
        expect(bytesPerToken(model, config, null)).to.deep.equal({dense: bytes, sparse: bytes});
      });

      it('are fewer by what was really masked', () => {
        sparsifyEverything(model);
        const layers = [...maskingLayers(model).keys()].map((path) => ({path, target: null, actual: 0.25}));
        const {dense, sparse} = bytesPerToken(model, config, {mean: 0.25, groups: [], layers});
        expect(dense).to.equal(4 * weightsOf(config));
        expect(sparse).to.be.closeTo(0.75 * dense, 1e-6 * dense);
      });

      it('are fewer by what calibration reached, where nothing was measured', () => {
        sparsifyEverything(model);
        for (const [path, layer] of maskingLayers(model)) {
          layer.setThreshold(0.1, path.endsWith('down_proj') || path.endsWith('w2') ? 0.5 : 0);
        }
        const layers = [...maskingLayers(model).keys()].map((path) => ({path, target: null, actual: 0}));
        const {hiddenSize, intermediateSize, layers: blocks, experts} = config;
        const down = 4 * blocks * hiddenSize * intermediateSize * (experts?.perToken ?? 1);
        const {dense, sparse} = bytesPerToken(model, config, {mean: 0, groups: [], layers});
        expect(dense - sparse).to.be.closeTo(0.5 * down, 1e-6 * dense);
      });
    });
  }
});
