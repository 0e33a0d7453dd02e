import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {firstItems} from '../../lib/calibration/model-batches.js';
import {predictionSpeed} from '../../lib/eval/prediction-speed.js';
import {timePerSparsity} from '../../lib/eval/time-per-sparsity.js';
import {Dataset, compressWeights, sparsifyActivations} from '../../lib/index.js';
import {disposeModels, withoutLeaks} from '../support/backends.js';
import {rejection} from '../support/rejection.js';
import {softsign, softsignClock} from '../support/softsign-clock.js';

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

describe('speeds, by a clock that layers alone move', () =>
  withoutLeaks(() => {
    const WIDTH = 200;
    const clock = softsignClock();
    before(() => tf.setBackend('cpu'));

    /** Two layers, of which the second is called twice. */
    function chain(): tf.LayersModel {
      const x = tf.input({shape: [WIDTH]});
      const [first, second] = [softsign('first', WIDTH), softsign('second', WIDTH)];
      const y = second.apply(second.apply(first.apply(x))) as tf.SymbolicTensor;
      return tf.model({inputs: x, outputs: y});
    }
    /** Values of which a threshold masks exactly the share that it is calibrated for. */
    const rows = (count: number) =>
      new Dataset([0], () =>
        tf.tensor2d(
          Array.from({length: count}, (_, j) => Array.from({length: WIDTH}, (_, i) => (i + 1) / WIDTH + j)),
        ),
      );

    it('of a prediction are those of the dense model and of the sparse one', async () => {
      clock.takes((zeros) => 10 - 8 * zeros);
      const model = chain();
      const sparse = await sparsifyActivations(model, rows(1), {targetSparsityByScope: {first: 0.5}});
      // What the first layer masks is 0 in the inputs of the others, too.
      const {denseMs, ms} = await predictionSpeed(sparse, rows(1)).measure(sparse);
      expect({denseMs, ms}).to.deep.equal({denseMs: 30, ms: 18});
      disposeModels(sparse, model);
    });

    it('of layers are what a call saves from sparsity 0 to 0.9, as a share of 1, for each call', async () => {
      clock.takes((zeros) => 10 - 8 * zeros);
      const model = chain();
      const times = await timePerSparsity(model, rows(3));
      expect([...times.keys()]).to.deep.equal(['first', 'second']);
      expect(times.get('first')).to.be.closeTo(8, 1e-9);
      expect(times.get('second')).to.be.closeTo(16, 1e-9);
      disposeModels(model);
    });

    it('of layers that save nothing are a hundredth of their dense time', async () => {
      clock.takes((zeros) => 10 + 8 * zeros);
      const model = chain();
      const times = await timePerSparsity(model, rows(1));
      expect(times.get('first')).to.be.closeTo(0.1, 1e-9);
      expect(times.get('second')).to.be.closeTo(0.2, 1e-9);
      disposeModels(model);
    });
  }));
