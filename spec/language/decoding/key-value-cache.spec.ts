import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import type {Layer} from '../../../lib/tfjs.js';
import {KeyValueCache} from '../../../lib/language/decoding/key-value-cache.js';
import {withoutLeaks} from '../../support/backends.js';

describe('a cache of keys and values', () => {
  before(async () => {
    await tf.setBackend('cpu');
  });
  const layerOf = (): Layer => tf.layers.dense({units: 1});
  const [layer, other] = [layerOf(), layerOf()];

  /** Keys of as many positions, each full of its number from `first` on; values are minus that. */
  const pair = (first: number, tokens: number) => {
    const keys = tf.tensor4d(Array.from({length: tokens}, (_, i) => [first + i, first + i]).flat(), [
      1,
      1,
      tokens,
      2,
    ]);
    return {keys, values: tf.neg(keys)};
  };
  const extend = (cache: KeyValueCache, first: number, tokens: number, into = layer) =>
    cache.extendBy(tokens, (pass) => {
      const {keys, values} = pair(first, tokens);
      const all = pass.extend(into, keys, values);
      return {keys: tf.clone(all.keys), values: tf.clone(all.values)};
    });
  const read = ({keys, values}: {keys: tf.Tensor; values: tf.Tensor}) => {
    const [got, negative] = [keys.dataSync(), values.dataSync()];
    tf.dispose([keys, values]);
    expect([...negative].map((value) => -value + 0)).to.deep.equal([...got]);
    return [...got].filter((_, i) => i % 2 === 0);
  };

  withoutLeaks(() => {
    it('holds the positions of all passes in their order, padded to whole blocks by 0', () => {
      const cache = new KeyValueCache();
      expect(read(extend(cache, 1, 3))).to.deep.equal([1, 2, 3, ...Array<number>(125).fill(0)]);
      expect(read(extend(cache, 4, 125))).to.deep.equal(Array.from({length: 128}, (_, i) => i + 1));
      const more = read(extend(cache, 129, 1));
      expect(more).to.have.length(256);
      expect(more.slice(0, 130)).to.deep.equal([...Array.from({length: 129}, (_, i) => i + 1), 0]);
      expect(cache.length).to.equal(129);
      cache.dispose();
      expect(cache.length).to.equal(0);
    });

    it('keeps layers apart', () => {
      const cache = new KeyValueCache();
      cache.extendBy(2, (pass) => {
        pass.extend(layer, pair(1, 2).keys, pair(1, 2).values);
        pass.extend(other, pair(50, 2).keys, pair(50, 2).values);
        return [];
      });
      const both = cache.extendBy(1, (pass) => {
        const [a, b] = [pair(3, 1), pair(52, 1)];
        return [
          pass.extend(layer, a.keys, a.values).keys.clone(),
          pass.extend(other, b.keys, b.values).keys.clone(),
        ];
      });
      expect(both.map((keys) => keys.dataSync()[4])).to.deep.equal([3, 52]);
      expect(both.map((keys) => keys.dataSync()[0])).to.deep.equal([1, 50]);
      tf.dispose(both);
      cache.dispose();
    });

    it('does not count the tokens of a pass that fails, and goes on as if there had been none', () => {
      const cache = new KeyValueCache();
      tf.dispose(extend(cache, 1, 2));
      expect(() =>
        cache.extendBy(3, (pass) => {
          pass.mask(null);
          pass.rotary([1], 1);
          throw new Error('no memory');
        }),
      ).to.throw('no memory');
      expect(cache.length).to.equal(2);
      expect(read(extend(cache, 3, 1)).slice(0, 4)).to.deep.equal([1, 2, 3, 0]);
      cache.dispose();
    });

    it('masks what comes after a token and what a window leaves out, once a window', () => {
      const cache = new KeyValueCache();
      tf.dispose(extend(cache, 1, 3));
      cache.extendBy(2, (pass) => {
        const seen = (mask: tf.Tensor) =>
          (mask.arraySync() as number[][]).map((row) => row.flatMap((value, i) => (value === 0 ? [i] : [])));
        expect(pass.mask(null).shape).to.deep.equal([2, 128]);
        expect(seen(pass.mask(null))).to.deep.equal([
          [0, 1, 2, 3],
          [0, 1, 2, 3, 4],
        ]);
        expect(seen(pass.mask(2))).to.deep.equal([
          [2, 3],
          [3, 4],
        ]);
        expect(pass.mask(2)).to.equal(pass.mask(2)).and.not.equal(pass.mask(3));
        return [];
      });
      cache.dispose();
    });

    it('turns by the positions of the pass, a table for each frequencies and factor', () => {
      const cache = new KeyValueCache();
      tf.dispose(extend(cache, 1, 3));
      cache.extendBy(2, (pass) => {
        const {cosines, sines} = pass.rotary([0.5, 0.25], 2);
        const expected = [3, 4].map((at) => [at * 0.5, at * 0.25, at * 0.5, at * 0.25]);
        const [cos, sin] = [cosines.arraySync() as number[][], sines.arraySync() as number[][]];
        for (const [row, angles] of expected.entries()) {
          for (const [i, angle] of angles.entries()) {
            expect(cos[row][i]).to.be.closeTo(2 * Math.cos(angle), 1e-6);
            expect(sin[row][i]).to.be.closeTo((i < 2 ? -2 : 2) * Math.sin(angle), 1e-6);
          }
        }
        expect(pass.rotary([0.5, 0.25], 2).cosines).to.equal(cosines);
        expect(pass.rotary([0.5, 0.25], 1).cosines).to.not.equal(cosines);
        expect(pass.rotary([0.5, 0.3], 2).cosines).to.not.equal(cosines);
        return [];
      });
      cache.dispose();
    });
  });
});
