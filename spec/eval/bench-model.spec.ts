import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {benchModel} from '../../lib/eval/bench-model.js';
import {Dataset, compressWeights, inspect, sparsifyActivations} from '../../lib/index.js';
import {onEveryBackend, disposeModels} from '../support/backends.js';
import {softsign, softsignClock} from '../support/softsign-clock.js';

const WIDTH = 100;

/** Values from -0.5 on in steps, of which a threshold masks exactly the share that it is calibrated for. */
const row = () => tf.tensor2d([Array.from({length: WIDTH}, (_, i) => (i + 1) / WIDTH)]);

/** A layer, called twice by a prediction. */
function twice(): tf.LayersModel {
  const x = tf.input({shape: [WIDTH]});
  const layer = softsign('twice', WIDTH);
  return tf.model({inputs: x, outputs: layer.apply(layer.apply(x)) as tf.SymbolicTensor});
}

const data = () => new Dataset([0], row);

onEveryBackend((backend) => {
  describe('benchModel', () => {
    const clock = softsignClock();

    it('times layers and models, and predicts from the layers what a model would take', async () => {
      clock.takes((zeros) => 10 - 8 * zeros);
      const [model, input] = [twice(), row()];
      const {layers, ...bench} = await benchModel(model, [input], data(), {seconds: 0});
      expect(layers.map(({path, calls, denseMs}) => ({path, calls, denseMs}))).to.deep.equal([
        {path: 'twice', calls: 2, denseMs: 10},
      ]);
      expect(bench.denseMs).to.equal(20);
      expect(bench.skipsRows).to.equal(backend !== 'wasm');
      const at = [0, 0.3, 0.5, 0.7, 0.9];
      expect(bench.predicted.map(({sparsity}) => sparsity)).to.deep.equal(at);
      bench.predicted.forEach(({sparsity, ms, speedup}) => {
        expect(ms).to.be.closeTo(20 - 16 * sparsity, 1e-9);
        expect(speedup).to.be.closeTo(20 / (20 - 16 * sparsity), 1e-9);
      });
      // Each call of the layer that was sparsified to half masks half of what it reads.
      const [{ms, speedup, ...measured}, ...others] = bench.measured;
      expect(others).to.deep.equal([]);
      expect(measured).to.deep.equal({sparsity: 0.5});
      expect(ms).to.be.closeTo(12, 1e-9);
      expect(speedup).to.be.closeTo(20 / 12, 1e-9);
      input.dispose();
      disposeModels(model);
    });

    it('times at the sparsities that it is told, of layers and of models', async () => {
      clock.takes((zeros) => 10 - 8 * zeros);
      const [model, input] = [twice(), row()];
      const progress: number[] = [];
      const {layers, predicted, measured} = await benchModel(model, [input], data(), {
        ...{sparsities: [0.7], measureAt: [0.3, 0.7], seconds: 0},
        onProgress: ({done}) => progress.push(done),
      });
      expect(layers[0].times.map(({sparsity}) => sparsity)).to.deep.equal([0.7]);
      expect(predicted.map(({sparsity}) => sparsity)).to.deep.equal([0.7]);
      expect(measured.map(({sparsity}) => sparsity)).to.deep.equal([0.3, 0.7]);
      measured.forEach(({sparsity, ms}) => expect(ms).to.be.closeTo(20 - 16 * sparsity, 1e-9));
      expect(progress).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8, 9]);
      input.dispose();
      disposeModels(model);
    });

    it('takes a sparse and INT8 model as it was before, and leaves it as it is', async () => {
      clock.takes((zeros) => 10 - 8 * zeros);
      const [stock, input] = [twice(), row()];
      const sparse = await sparsifyActivations(stock, data(), {targetSparsityByScope: {twice: 0.9}});
      const model = await compressWeights(sparse);
      const before = inspect(model);
      const {denseMs, measured, layers} = await benchModel(model, [input], data(), {seconds: 0});
      expect({denseMs, layer: layers[0].denseMs}).to.deep.equal({denseMs: 20, layer: 10});
      expect(measured[0].ms).to.be.closeTo(12, 1e-9);
      expect(inspect(model)).to.deep.equal(before);
      input.dispose();
      disposeModels(model, sparse, stock);
    });

    it('stops when it is told to', async () => {
      const [model, input] = [twice(), row()];
      const reason = new Error('enough');
      for (const measureAt of [[], [0.5]]) {
        let thrown: unknown;
        await benchModel(model, [input], data(), {
          ...{measureAt, seconds: 0, signal: AbortSignal.abort(reason)},
        }).catch((error: unknown) => (thrown = error));
        expect(thrown).to.equal(reason);
      }
      input.dispose();
      disposeModels(model);
    });
  });
});
