import {expect} from 'chai';
import * as tf from '@tensorflow/tfjs';
import {ModelError, SparsifyError} from '../../../lib/errors.js';
import {makeSparsifying, sparsifyingLayers} from '../../../lib/model/dense-layers.js';
import {onlyTensor} from '../../../lib/tfjs.js';
import type {LlamaConfig} from '../../../models/llama/config.js';
import {buildModel} from '../../../models/llama/graph.js';
import {createGraphDecoder} from '../../../models/llama/graph-decoder.js';
import {openHuggingFaceFolder} from '../../../models/llama/import/huggingface-folder.js';
import {loadWeights} from '../../../models/llama/load-weights.js';
import {BACKENDS, disposeModels, onEveryBackend, withoutLeaks} from '../../backends.js';
import {checkpointOf, randomIds, randomWeights, smallConfigs} from './random-checkpoint.js';
import {argmax, expectedOf, relativeError, TINY_CHECKPOINTS, tinyFolder} from './tiny-checkpoints.js';

/** Of the largest logit: float32 sums in another order, over the depth of a model. */
const TOLERANCE = 1e-5;

async function randomModel(config: LlamaConfig): Promise<tf.LayersModel> {
  const model = buildModel(config);
  await loadWeights(model, checkpointOf(config, randomWeights(config, 3)));
  return model;
}

/** Logits of a whole sequence without a cache, [tokens, vocabulary]. */
function fullForward(model: tf.LayersModel, ids: number[]): Float32Array {
  return tf.tidy(
    () => (model.apply(tf.tensor2d([ids], undefined, 'int32')) as tf.Tensor).dataSync() as Float32Array,
  );
}

/** The error that a promise rejects with. */
async function rejection(promise: Promise<unknown>): Promise<SparsifyError> {
  try {
    await promise;
  } catch (error) {
    expect(error).to.be.instanceOf(SparsifyError);
    return error as SparsifyError;
  }
  throw new Error('it did not fail');
}

/** The model with every Dense layer but those of experts sparsified at a threshold of its own. */
function sparsify(model: tf.LayersModel): void {
  const paths = model.layers.map(({name}) => name);
  makeSparsifying(model, new Set(paths));
  [...sparsifyingLayers(model).values()].forEach((layer, i) => layer.setThreshold(0.1 + (i % 5) * 0.1));
}

describe('createGraphDecoder', () => {
  onEveryBackend(() => {
    for (const name of TINY_CHECKPOINTS) {
      it(`continues ${name} as the reference does, token for token`, async () => {
        const checkpoint = await openHuggingFaceFolder(tinyFolder(name));
        const model = buildModel(checkpoint.config);
        await loadWeights(model, checkpoint);
        await checkpoint.close();
        const {input_ids, logits_last, greedy_ids} = expectedOf(name);
        const decoder = createGraphDecoder(model, checkpoint.config);
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

    for (const [title, config] of smallConfigs()) {
      it(`gives for ${title}, part by part, what the whole sequence gives at once`, async () => {
        const model = await randomModel(config);
        const ids = randomIds(24, config.vocabularySize, 5);
        const decoder = createGraphDecoder(model, config);
        const parts: number[] = [];
        for (const [start, end] of [
          [0, 6],
          [6, 7],
          [7, 8],
          [8, 24],
        ]) {
          parts.push(...(await decoder.appendAll(ids.slice(start, end))));
          expect(decoder.length).to.equal(end);
        }
        expect(relativeError(parts, fullForward(model, ids))).to.be.below(TOLERANCE);
        decoder.dispose();
        disposeModels(model);
      });
    }

    it('goes on beyond a block of the cache, with a sliding window too', async () => {
      const config = smallConfigs().get('mistral')!;
      const model = await randomModel(config);
      const ids = randomIds(150, config.vocabularySize, 6);
      const decoder = createGraphDecoder(model, config);
      const parts = [...(await decoder.appendAll(ids.slice(0, 124)))];
      for (const id of ids.slice(124, 132)) parts.push(...(await decoder.append([id])));
      parts.push(...(await decoder.appendAll(ids.slice(132))));
      expect(relativeError(parts, fullForward(model, ids))).to.be.below(TOLERANCE);
      decoder.dispose();
      disposeModels(model);
    });

    it('scores what follows each token', async () => {
      const config = smallConfigs().get('qwen2')!;
      const model = await randomModel(config);
      const ids = randomIds(20, config.vocabularySize, 8);
      const [tokens, targets] = [ids.slice(0, -1), ids.slice(1)];
      const decoder = createGraphDecoder(model, config);
      const scores = await decoder.score(tokens, targets);
      const logits = fullForward(model, tokens);
      const expected = targets.map((target, i) => {
        const row = logits.subarray(i * config.vocabularySize, (i + 1) * config.vocabularySize);
        const most = Math.max(...row);
        return row[target] - most - Math.log(row.reduce((sum, value) => sum + Math.exp(value - most), 0));
      });
      expect(relativeError(scores, expected)).to.be.below(TOLERANCE);
      decoder.dispose();
      disposeModels(model);
    });

    it('masks by the thresholds and counts what it masks, but for tokens that are to be dense', async () => {
      const config = smallConfigs().get('llama with llama3 scaling')!;
      const model = await randomModel(config);
      const ids = randomIds(12, config.vocabularySize, 9);
      const whenDense = fullForward(model, ids);
      sparsify(model);
      const layers = sparsifyingLayers(model);
      expect(layers.has('lm_head')).to.equal(true);
      const expected = new Map<string, {masked: number; total: number}>();
      for (const [path, layer] of layers) {
        const threshold = layer.threshold!.read().dataSync()[0];
        layer.setCallHook((inputs) => {
          const values = onlyTensor(inputs).dataSync() as Float32Array;
          const masked = values.filter((value) => Math.abs(value) <= threshold).length;
          expected.set(path, {masked, total: values.length});
        });
      }
      const whenSparse = fullForward(model, ids);
      for (const layer of layers.values()) layer.clearCallHook();

      const decoder = createGraphDecoder(model, config);
      expect(relativeError(await decoder.appendAll(ids), whenSparse)).to.be.below(TOLERANCE);
      expect(decoder.counts()).to.deep.equal(expected);
      expect([...expected.values()].every(({masked}) => masked > 0)).to.equal(true);

      decoder.truncate(0);
      decoder.resetCounts();
      expect(relativeError(await decoder.appendAll(ids, {dense: true}), whenDense)).to.be.below(TOLERANCE);
      for (const [path, {total}] of expected) {
        expect(decoder.counts().get(path)).to.deep.equal({masked: 0, total});
      }
      decoder.dispose();
      disposeModels(model);
    });

    it('goes on from where it was truncated', async () => {
      const config = smallConfigs().get('mixtral')!;
      const model = await randomModel(config);
      const ids = randomIds(10, config.vocabularySize, 10);
      const decoder = createGraphDecoder(model, config);
      await decoder.append(ids.slice(0, 4));
      await decoder.append([1, 2, 3, 4, 5]);
      decoder.truncate(4);
      const logits = await decoder.append(ids.slice(4));
      const full = fullForward(model, ids);
      expect(relativeError(logits, full.subarray(-config.vocabularySize))).to.be.below(TOLERANCE);
      decoder.dispose();
      disposeModels(model);
    });

    it('refuses wrong use and stays usable', async () => {
      const config = smallConfigs().get('llama')!;
      const model = await randomModel(config);
      const decoder = createGraphDecoder(model, config);
      for (const ids of [[96], [-1], [1.5], [NaN]]) {
        expect((await rejection(decoder.append(ids))).code).to.equal('bad-token');
      }
      expect((await rejection(decoder.append([]))).code).to.equal('empty-input');
      expect((await rejection(decoder.score([1, 2], [1]))).code).to.equal('wrong-length');
      const first = decoder.append([1]);
      expect((await rejection(decoder.append([2]))).code).to.equal('decoder-busy');
      await first;
      expect(decoder.length).to.equal(1);
      expect(() => decoder.truncate(2)).to.throw(SparsifyError, /holds 1/);
      decoder.dispose();
      expect((await rejection(decoder.append([1]))).code).to.equal('decoder-disposed');
      disposeModels(model);
    });
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
        expect((await rejection(call)).code).to.equal('decoder-disposed');
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
