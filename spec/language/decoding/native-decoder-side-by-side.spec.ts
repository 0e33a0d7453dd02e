/**
 * @file Layers that read the same, whose short rows the native decoder on tfjs-node lays side by side: kernels of as few weights as it
 * does so for.
 */
import {expect} from 'chai';
import {compressWeights} from '../../../lib/index.js';
import {sparsifyingDenseLayers} from '../../../lib/model/dense-layers.js';
import {createGraphDecoder} from '../../../lib/language/decoding/graph-decoder.js';
import {parseConfig} from '../../../lib/language/config/parse-config.js';
import type {SparsifyingDense} from '../../../lib/layers/sparsifying-dense.js';
import {disposeModels, withoutLeaks} from '../../support/backends.js';
import {decoded} from '../../support/language/decoded.js';
import {randomModel, sparsifyEverything} from '../../support/language/loaded-models.js';
import {FLOAT16_TOLERANCE, medianError} from '../../support/language/logit-errors.js';
import {describeTfjsNode, native} from '../../support/language/native-decoders.js';
import {SMALL_CONFIGS, randomIds} from '../../support/language/random-checkpoint.js';

const SIZE = {
  hidden_size: 288,
  intermediate_size: 544,
  num_attention_heads: 9,
  num_key_value_heads: 9,
};

const CONFIGS = {
  'qwen2, with biases': SMALL_CONFIGS.qwen2,
  llama: SMALL_CONFIGS.llama,
  mixtral: {...SMALL_CONFIGS.mixtral, num_local_experts: 3, num_experts_per_tok: 2},
};

/** Sets the thresholds of all layers: of k, up and w3 `other`, of all others `most`. */
function setThresholds(layers: ReadonlyMap<string, SparsifyingDense>, most: number, other: number): void {
  for (const [path, layer] of layers) layer.setThreshold(/k_proj|up_proj|w3/.test(path) ? other : most);
}

describeTfjsNode('a native decoder of layers side by side', () => {
  withoutLeaks(() => {
    for (const [title, json] of Object.entries(CONFIGS)) {
      const config = parseConfig({...json, ...SIZE});
      const ids = randomIds(24, config.vocabularySize, 5);

      for (const mode of ['int8_asym', 'int8_sym', 'int4_asym', 'int4_sym'] as const) {
        it(`gives for ${title} in ${mode} the same whether thresholds are alike or next to each other`, async () => {
          const model = await randomModel(config);
          const groupSize = mode.startsWith('int4') ? {groupSize: 32} : {};
          await compressWeights(model, {mode, ...groupSize, inPlace: true});
          sparsifyEverything(model);
          const layers = sparsifyingDenseLayers(model);
          const decoder = native(model, config);
          const results = [];
          // No input lies between 0.3 and the next number that float32 has.
          for (const other of [0.3, 0.3 * (1 + 2 ** -22), 0.3]) {
            setThresholds(layers, 0.3, other);
            decoder.truncate(0);
            decoder.resetCounts();
            results.push({logits: [...(await decoded(decoder, ids, [1]))], counts: decoder.counts()});
          }
          expect(results[1]).to.deep.equal(results[0]);
          expect(results[2]).to.deep.equal(results[0]);
          const masked = [...results[0].counts.values()];
          expect(masked.every(({masked, total}) => masked > 0 && masked < total)).to.equal(true);
          decoder.dispose();
          disposeModels(model);
        });
      }

      it(`gives for ${title} what the layers give, while its thresholds change`, async () => {
        const model = await randomModel(config);
        await compressWeights(model, {inPlace: true});
        sparsifyEverything(model);
        const layers = sparsifyingDenseLayers(model);
        const [graph, decoder] = [createGraphDecoder(model, config), native(model, config)];
        for (const [most, other] of [
          [0.1, 0.1],
          [0.1, 0.2],
          [-Infinity, 0.1],
          [0.2, 0.2],
        ]) {
          setThresholds(layers, most, other);
          graph.truncate(0);
          const expected = await decoded(graph, ids, [1]);
          for (const lengths of [[1], [3, 1]]) {
            decoder.truncate(0);
            // An input within rounding of its threshold may fall on the other side.
            const error = medianError(await decoded(decoder, ids, lengths), expected, config);
            expect(error, `thresholds ${most} and ${other}`).to.be.below(FLOAT16_TOLERANCE);
          }
        }
        graph.dispose();
        decoder.dispose();
        disposeModels(model);
      });
    }

    it('keeps the layers of a model as they are, and shares rows with a copy of it', async () => {
      const config = parseConfig({...SMALL_CONFIGS.qwen2, ...SIZE});
      const model = await randomModel(config);
      await compressWeights(model, {inPlace: true});
      const ids = randomIds(10, config.vocabularySize, 5);
      const graph = createGraphDecoder(model, config);
      const before = [...(await decoded(graph, ids, [10]))];
      const decoder = native(model, config);
      const logits = [...(await decoded(decoder, ids, [1]))];
      const other = native(model, config, {cache: 'bfloat16'});
      decoder.dispose();
      other.dispose();
      const again = native(model, config);
      expect([...(await decoded(again, ids, [1]))]).to.deep.equal(logits);
      again.dispose();
      graph.truncate(0);
      expect([...(await decoded(graph, ids, [10]))]).to.deep.equal(before);
      graph.dispose();
      disposeModels(model);
    });
  });
});
