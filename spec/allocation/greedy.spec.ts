import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {greedyShares} from '../../lib/allocation/greedy.js';
import type {WeightedLayer} from '../../lib/allocation/share-functions.js';
import {Dataset} from '../../lib/index.js';
import {SparsifyingDense} from '../../lib/layers/sparsifying-dense.js';
import {disposeModels, withoutLeaks} from '../support/backends.js';

const WIDTH = 10;

/** Multiplies each input by a number. */
function scaled(name: string, factor: number): tf.layers.Layer {
  const identity = Array.from({length: WIDTH ** 2}, (_, i) => (i % (WIDTH + 1) === 0 ? factor : 0));
  const kernel = tf.tensor2d(identity, [WIDTH, WIDTH]);
  const layer = tf.layers.dense({name, units: WIDTH, useBias: false});
  layer.build([null, WIDTH]);
  layer.setWeights([kernel]);
  kernel.dispose();
  return layer;
}

/** Two branches that are added up, `cheap` and `dear`; what they give goes through `last`. */
function twoBranches(factors = {cheap: 1, dear: 10}): tf.LayersModel {
  const inputs = ['x', 'y'].map((name) => tf.input({shape: [WIDTH], name}));
  const sum = tf.layers
    .add({name: 'sum'})
    .apply([
      scaled('cheap', factors.cheap).apply(inputs[0]) as tf.SymbolicTensor,
      scaled('dear', factors.dear).apply(inputs[1]) as tf.SymbolicTensor,
    ]) as tf.SymbolicTensor;
  return tf.model({inputs, outputs: scaled('last', 1).apply(sum) as tf.SymbolicTensor});
}

const layer = (path: string, bounds: Partial<WeightedLayer> = {}): WeightedLayer => ({
  ...{path, weights: WIDTH ** 2, size: WIDTH ** 2, minimum: 0, maximum: 0.95},
  ...bounds,
});

/** 1, 2, … 10 in both inputs, in one batch. */
const rising = () => new Dataset([0], () => tf.tidy(() => ({x: ramp(), y: ramp()})));
const ramp = () => tf.range(1, WIDTH + 1).reshape([1, WIDTH]);

describe('greedyShares', () =>
  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));
    let model: tf.LayersModel;
    afterEach(() => disposeModels(model));

    it('gives each step to the layer that loses least by it, up to its bound', async () => {
      model = twoBranches();
      const spread = await greedyShares(model, [layer('cheap', {maximum: 0.35}), layer('dear')], rising());
      // A step is 0.05 of the mean, so 0.1 of one of two equal layers: four for `cheap`, the last of them half as long.
      for (const [mean, cheap, dear] of [
        [0, 0, 0],
        [0.05, 0.1, 0],
        [0.125, 0.25, 0],
        [0.175, 0.35, 0],
        [0.2, 0.35, 0.05],
        [0.225, 0.35, 0.1],
        [0.5, 0.35, 0.65],
        [0.65, 0.35, 0.95],
      ]) {
        const shares = spread(mean);
        expect(shares[0], `cheap at ${mean}`).to.be.closeTo(cheap, 1e-9);
        expect(shares[1], `dear at ${mean}`).to.be.closeTo(dear, 1e-9);
      }
    });

    it('starts from the least shares, and measures each step beside what was given before', async () => {
      model = twoBranches({cheap: 1, dear: 1});
      const spread = await greedyShares(model, [layer('cheap', {minimum: 0.4}), layer('dear')], rising());
      expect(spread(0.2)).to.deep.equal([0.4, 0]);
      // Of the sums 2, 4, … 20 the first four miss a half already. Then 1 of `dear` costs 2² - 1², less than 5² for 5 of `cheap`;
      // 2 costs 4² - 2²; then 5 of `cheap` is cheaper than 6² - 3²; then that.
      const shares = spread(0.4);
      expect(shares[0]).to.be.closeTo(0.5, 1e-9);
      expect(shares[1]).to.be.closeTo(0.3, 1e-9);
    });

    it('masks nothing of a layer that has no share yet, though all its inputs are of one magnitude', async () => {
      model = twoBranches({cheap: 1, dear: 1});
      const flat = new Dataset([0], () => tf.tidy(() => ({x: ramp(), y: tf.fill([1, WIDTH], 5)})));
      const spread = await greedyShares(model, [layer('cheap', {maximum: 0.3}), layer('dear')], flat);
      const shares = spread(0.1);
      expect(shares[0]).to.be.closeTo(0.2, 1e-9);
      expect(shares[1]).to.be.closeTo(0, 1e-9);
    });

    it('counts a step in the size of its layer', async () => {
      model = twoBranches();
      const layers = [layer('cheap', {size: 300}), layer('dear', {size: 100})];
      const spread = await greedyShares(model, layers, rising());
      const shares = spread(0.1); // of 400: 40 of 300
      expect(shares[0]).to.be.closeTo(40 / 300, 1e-9);
      expect(shares[1]).to.be.closeTo(0, 1e-9);
    });

    it('gives every segment the mean, and layers that data do not reach too', async () => {
      model = twoBranches();
      const layers = [layer('cheap'), layer('dear'), layer('last'), layer('elsewhere', {minimum: 0.5})];
      const shares = (await greedyShares(model, layers.slice(0, 3), rising()))(0.3);
      expect((shares[0] + shares[1]) / 2).to.be.closeTo(0.3, 1e-9);
      expect(shares[2]).to.be.closeTo(0.3, 1e-9);
      const spread = await greedyShares(model, layers, rising());
      expect(spread(0.2)[3]).to.equal(0.5);
      expect(spread(0.6)[3]).to.be.closeTo(0.6, 1e-9);
    });

    it('reads one batch, leaves no threshold on, and tells how far it is', async () => {
      model = twoBranches();
      const last = new Map<string, number>();
      const original = Object.getOwnPropertyDescriptor(SparsifyingDense.prototype, 'setThreshold')!;
      const setThreshold = original.value as (this: SparsifyingDense, threshold: number) => void;
      SparsifyingDense.prototype.setThreshold = function (this: SparsifyingDense, threshold) {
        last.set(this.name, threshold);
        setThreshold.call(this, threshold);
      };
      const done: [number, number | null][] = [];
      let read = 0;
      const data = new Dataset([0, 1], () => (read++, tf.tidy(() => ({x: ramp(), y: ramp()}))));
      try {
        await greedyShares(model, [layer('cheap'), layer('dear'), layer('last')], data, {
          onProgress: (progress) => done.push([progress.done, progress.total]),
        });
      } finally {
        Object.defineProperty(SparsifyingDense.prototype, 'setThreshold', original);
      }
      expect(read).to.equal(1);
      expect([...last.values()]).to.deep.equal([-Infinity, -Infinity, -Infinity]);
      expect(done).to.deep.equal([
        [2, 3],
        [3, 3],
      ]);
    });

    it('stops between two steps', async () => {
      model = twoBranches();
      const controller = new AbortController();
      const reason = new Error('enough');
      const data = new Dataset([0], () => {
        setTimeout(() => controller.abort(reason));
        return tf.tidy(() => ({x: ramp(), y: ramp()}));
      });
      const layers = [layer('cheap'), layer('dear')];
      const stopped = greedyShares(model, layers, data, {signal: controller.signal});
      expect(await stopped.catch((error: unknown) => error)).to.equal(reason);
    });
  }));
