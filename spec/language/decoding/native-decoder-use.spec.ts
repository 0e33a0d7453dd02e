import {expect} from 'chai';
import * as tf from '@tensorflow/tfjs';
import {maskingLayers} from '../../../lib/model/dense-layers.js';
import {createGraphDecoder} from '../../../lib/language/decoding/graph-decoder.js';
import {disposeModels, withoutLeaks} from '../../support/backends.js';
import {randomModel, sparsifyEverything} from '../../support/language/loaded-models.js';
import {BFLOAT16_TOLERANCE, TOLERANCE, meanError} from '../../support/language/logit-errors.js';
import {describeNative, native} from '../../support/language/native-decoders.js';
import {randomIds, smallConfigs} from '../../support/language/random-checkpoint.js';
import {rejection} from '../../support/rejection.js';
import {relativeError} from '../../support/language/tiny-checkpoints.js';

/** Bytes in memory that belong to this process. */
function residentBytes(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss;
}

describeNative('a native decoder in use', () => {
  withoutLeaks(() => {
    describe('with a random llama', () => {
      const config = smallConfigs().get('llama with llama3 scaling')!;
      const ids = randomIds(40, config.vocabularySize, 9);
      let model: tf.LayersModel;
      beforeEach(async () => {
        model = await randomModel(config);
      });
      afterEach(() => {
        disposeModels(model);
      });

      it('scores as the layers do, one by one and in rows', async () => {
        const graph = createGraphDecoder(model, config);
        const decoder = native(model, config);
        const expected = await graph.score(ids.slice(0, -1), ids.slice(1));
        expect(relativeError(await decoder.score(ids.slice(0, -1), ids.slice(1)), expected)).to.be.below(
          TOLERANCE,
        );
        decoder.truncate(0);
        const single: number[] = [];
        for (let i = 0; i + 1 < ids.length; i++)
          single.push(...(await decoder.score([ids[i]], [ids[i + 1]])));
        expect(relativeError(single, expected)).to.be.below(TOLERANCE);
        graph.dispose();
        decoder.dispose();
      });

      it('computes dense what is to be dense, and counts it as not masked', async () => {
        const whenDense = native(model, config);
        const expected = [...(await whenDense.append(ids))];
        whenDense.dispose();
        sparsifyEverything(model);
        const decoder = native(model, config);
        expect(relativeError(await decoder.append(ids, {dense: true}), expected)).to.be.below(TOLERANCE);
        const graph = createGraphDecoder(model, config);
        await graph.append(ids, {dense: true});
        expect(decoder.counts()).to.deep.equal(graph.counts());
        decoder.resetCounts();
        expect([...decoder.counts().values()].every(({total}) => total === 0)).to.equal(true);
        decoder.truncate(0);
        expect(relativeError(await decoder.append(ids), expected)).to.be.above(TOLERANCE);
        graph.dispose();
        decoder.dispose();
      });

      it('goes on from where it was truncated, over and over', async () => {
        const decoder = native(model, config, {cache: 'bfloat16'});
        const whole = [...(await decoder.append(ids))];
        for (const length of [39, 12, 1, 0]) {
          decoder.truncate(length);
          await decoder.append([1, 2, 3, 4, 5, 6, 7]);
          decoder.truncate(length);
          // Beyond rounding to bfloat16, which falls one way or the other.
          expect(meanError(await decoder.append(ids.slice(length)), whole)).to.be.below(BFLOAT16_TOLERANCE);
        }
        decoder.dispose();
      });

      it('keeps decoders of one model apart, also when they are asked at the same time', async () => {
        const other = ids.map((id) => (id + 1) % config.vocabularySize);
        const alone = native(model, config);
        const first = [...(await alone.append(ids))];
        alone.truncate(0);
        const second = [...(await alone.append(other))];
        const [a, b] = [native(model, config), native(model, config)];
        for (let i = 0; i + 1 < ids.length; i++)
          await Promise.all([a.append([ids[i]]), b.append([other[i]])]);
        const [gotA, gotB] = await Promise.all([a.append(ids.slice(-1)), b.append(other.slice(-1))]);
        expect(relativeError(gotA, first)).to.be.below(TOLERANCE);
        expect(relativeError(gotB, second)).to.be.below(TOLERANCE);
        for (const decoder of [alone, a, b]) decoder.dispose();
      });

      it('gives its logits also when the last ones are transferred, before or while it computes', async () => {
        const undisturbed = native(model, config);
        const expected: number[][] = [];
        for (const id of ids.slice(0, 3)) expected.push([...(await undisturbed.append([id]))]);
        const decoder = native(model, config);
        const first = await decoder.append([ids[0]]);
        const second = decoder.append([ids[1]]); // its turn has not come
        expect([...structuredClone(first, {transfer: [first.buffer]})]).to.deep.equal(expected[0]);
        expect([...(await second)]).to.deep.equal(expected[1]);
        const given = await second;
        const third = decoder.append([ids[2]]);
        for (let i = 0; i < 10; i++) await Promise.resolve(); // it computes, and cannot end before the event loop turns
        const elsewhere = structuredClone(given, {transfer: [given.buffer]});
        expect([...(await third)]).to.deep.equal(expected[2]);
        expect([...elsewhere]).to.deep.equal(expected[1]);
        for (const each of [undisturbed, decoder]) each.dispose();
      });

      it('leaves the event loop free while it computes', async () => {
        const decoder = native(model, config);
        let turns = 0;
        const timer = setInterval(() => turns++, 0);
        const many = randomIds(1500, config.vocabularySize, 4);
        await decoder.append(many);
        clearInterval(timer);
        expect(turns).to.be.above(2);
        expect(decoder.length).to.equal(1500);
        decoder.dispose();
      });

      for (const weights of ['float32', 'bfloat16'] as const) {
        it(`takes over ${weights} weights and thresholds that are replaced`, async () => {
          const decoder = native(model, config, {weights});
          const neighbour = native(model, config, {weights});
          await decoder.append(ids.slice(0, 10));
          const layers = ['model.layers.1.mlp.up_proj', 'lm_head', 'model.norm'].map((name) =>
            model.getLayer(name),
          );
          for (const layer of layers)
            tf.tidy(() => void layer.weights[0].write(tf.mul(layer.weights[0].read(), 0.5)));
          decoder.truncate(0);
          const [replaced] = await Promise.all([decoder.append(ids), neighbour.append(ids)]);
          const graph = createGraphDecoder(model, config);
          const limit = weights === 'float32' ? TOLERANCE : 10 * BFLOAT16_TOLERANCE;
          expect(relativeError(replaced, await graph.append(ids))).to.be.below(limit);
          graph.dispose();

          sparsifyEverything(model);
          decoder.truncate(0);
          const masked = createGraphDecoder(model, config);
          expect(relativeError(await decoder.append(ids), await masked.append(ids))).to.be.below(limit);
          for (const layer of maskingLayers(model).values()) layer.setThreshold(0.2);
          decoder.truncate(0);
          masked.truncate(0);
          expect(relativeError(await decoder.append(ids), await masked.append(ids))).to.be.below(limit);
          for (const made of [masked, decoder, neighbour]) made.dispose();
        });
      }

      it('ends between two chunks when it is disposed meanwhile', async () => {
        const decoder = native(model, config);
        const running = decoder.append(randomIds(5000, config.vocabularySize, 4));
        decoder.dispose();
        await rejection(() => running, 'decoder-disposed');
      });
    });

    it('frees what decoders and their tokens took', async () => {
      const config = smallConfigs().get('mixtral')!;
      const model = await randomModel(config);
      const ids = randomIds(600, config.vocabularySize, 4);
      const round = async (): Promise<void> => {
        for (const weights of ['float32', 'bfloat16'] as const) {
          const decoder = native(model, config, {weights});
          await decoder.append(ids);
          decoder.dispose();
        }
      };
      for (let i = 0; i < 20; i++) await round();
      const before = residentBytes();
      for (let i = 0; i < 60; i++) await round();
      // One round takes 3 MB and more; the allocator's own play is far less than 60 of them.
      expect(residentBytes() - before).to.be.below(40e6);
      disposeModels(model);
    });
  });
});
