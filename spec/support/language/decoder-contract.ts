/** @file What every decoder must do, whatever it computes with; the oracle is the model's own forward pass. */
import {expect} from 'chai';
import type * as tf from '@tensorflow/tfjs';
import {SparsifyError} from '../../../lib/errors.js';
import {makeSparsifying, maskingLayers} from '../../../lib/model/dense-layers.js';
import {onlyTensor} from '../../../lib/tfjs.js';
import type {LlamaConfig} from '../../../lib/language/config/llama-config.js';
import type {Decoder} from '../../../lib/language/decoding/decoder.js';
import {disposeModels} from '../backends.js';
import {fullForward, randomModel} from './loaded-models.js';
import {tinyModel} from './tiny-model.js';
import {TOLERANCE} from './logit-errors.js';
import {randomIds, smallConfigs} from './random-checkpoint.js';
import {rejection} from '../rejection.js';
import {argmax, expectedOf, relativeError, TINY_CHECKPOINTS} from './tiny-checkpoints.js';

/** The model with every layer that is Dense itself sparsified at a threshold of its own; experts stay as they are. */
function sparsify(model: tf.LayersModel): void {
  makeSparsifying(model, new Set(model.layers.map(({name}) => name)));
  [...maskingLayers(model).values()].forEach((layer, i) => layer.setThreshold(0.1 + (i % 5) * 0.1));
}

/**
 * Defines the tests, on the backend that is set when they run.
 *
 * @param create Makes the decoder that is to be tested.
 */
export function itDecodes(create: (model: tf.LayersModel, config: LlamaConfig) => Decoder): void {
  for (const name of TINY_CHECKPOINTS) {
    it(`continues ${name} as the reference does, token for token`, async () => {
      const {model, config} = await tinyModel(name);
      const {input_ids, logits_last, greedy_ids} = expectedOf(name);
      const decoder = create(model, config);
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
      const decoder = create(model, config);
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
    const decoder = create(model, config);
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
    const decoder = create(model, config);
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
    const layers = maskingLayers(model);
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

    const decoder = create(model, config);
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
    const decoder = create(model, config);
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
    const decoder = create(model, config);
    for (const wrong of [[config.vocabularySize], [-1], [1.5], [NaN]]) {
      await rejection(() => decoder.append(wrong), 'bad-token');
    }
    await rejection(() => decoder.append([]), 'empty-input');
    await rejection(() => decoder.score([1, 2], [1]), 'wrong-length');
    const first = decoder.append([1]);
    await rejection(() => decoder.append([2]), 'decoder-busy');
    await first;
    expect(decoder.length).to.equal(1);
    for (const length of [2, -1, 0.5]) {
      expect(() => decoder.truncate(length)).to.throw(SparsifyError, /holds 1/);
    }
    decoder.dispose();
    decoder.dispose();
    await rejection(() => decoder.append([1]), 'decoder-disposed');
    expect(() => decoder.counts()).to.throw(SparsifyError, /disposed/);
    disposeModels(model);
  });
}
