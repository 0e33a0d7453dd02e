import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {firstItems} from '../../lib/calibration/model-batches.js';
import {predictionSpeed} from '../../lib/eval/prediction-speed.js';
import {timePerSparsity} from '../../lib/eval/time-per-sparsity.js';
import {Dataset, compressWeights, sparsifyActivations} from '../../lib/index.js';
import {disposeModels, withoutLeaks} from '../support/backends.js';
import {rejection} from '../support/rejection.js';

/** A layer that is called twice, behind one. */
function mlp(): tf.LayersModel {
  const x = tf.input({shape: [6]});
  const shared = tf.layers.dense({name: 'shared', units: 6});
  const first = tf.layers.dense({name: 'first', units: 6}).apply(x) as tf.SymbolicTensor;
  const once = shared.apply(first) as tf.SymbolicTensor;
  return tf.model({inputs: x, outputs: shared.apply(once) as tf.SymbolicTensor});
}

const items = (...rows: number[]) =>
  new Dataset(rows, (count) => tf.tensor2d([...Array(count * 6).keys()], [count, 6]));

describe('predictionSpeed', () =>
  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));

    it('times single items of the first batch, dense and sparse', async () => {
      const model = mlp();
      const sparse = await sparsifyActivations(model, items(4), {targetSparsityByScope: {'.*': 0.5}});
      const shapes: string[] = [];
      sparse.getLayer('first').setCallHook((input) => shapes.push(String([input].flat()[0].shape)));
      const {denseMs, ms} = await predictionSpeed(model, items(3, 5)).measure(sparse);
      expect(denseMs).to.be.above(0);
      expect(ms).to.be.above(0);
      expect(new Set(shapes)).to.deep.equal(new Set(['1,6']));
      disposeModels(sparse, model);
    });

    it('takes as many items as asked for, and no more than there are', async () => {
      const model = mlp();
      for (const [rows, expected] of [
        [1, [0, 1, 2, 3, 4, 5]],
        [2, [...Array(12).keys()]],
        [9, [...Array(18).keys()]],
      ] as const) {
        const [input, ...others] = await firstItems(model, items(3, 5), rows);
        expect([...input.dataSync()]).to.deep.equal(expected);
        expect(others).to.deep.equal([]);
        input.dispose();
      }
      await rejection(() => firstItems(model, items(), 1), 'empty');
      await rejection(() => predictionSpeed(model, items()).measure(model), 'empty');
      await rejection(() => timePerSparsity(model, items()), 'empty');
      disposeModels(model);
    });
  }));

describe('timePerSparsity', () =>
  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));

    it('has a time above 0 for every Dense layer, also of a model that is sparse and INT8, which stays as it is', async () => {
      const model = mlp();
      const sparse = await sparsifyActivations(model, items(4), {targetSparsityByScope: {first: 0.5}});
      const small = await compressWeights(sparse);
      const predicted = () => tf.tidy(() => (small.predict(tf.ones([1, 6])) as tf.Tensor).dataSync());
      const before = predicted();
      for (const measured of [model, small]) {
        const times = await timePerSparsity(measured, items(4));
        expect([...times.keys()]).to.deep.equal(['first', 'shared']);
        for (const ms of times.values()) expect(ms).to.be.above(0);
      }
      expect(predicted()).to.deep.equal(before);
      disposeModels(small, sparse, model);
    });

    it('tells how far it is', async () => {
      const model = mlp();
      let progress = 0;
      await timePerSparsity(model, items(4), {onProgress: ({done}) => (progress = done)});
      expect(progress).to.be.above(0);
      disposeModels(model);
    });
  }));
