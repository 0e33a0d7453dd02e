import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {Dataset} from '../../lib/dataset.js';
import {measureSparsity} from '../../lib/eval/measure-sparsity.js';
import {SparsifyingDense} from '../../lib/layers/sparsifying-dense.js';
import {onEveryBackend} from '../support/backends.js';
import {failure} from '../support/io/files.js';

/** Two layers that read the model's input, and a third that reads the sum of theirs, by thresholds. */
function modelWith(thresholds: Readonly<Record<'a' | 'b' | 'c', number>>): tf.LayersModel {
  const layer = (name: 'a' | 'b' | 'c') =>
    new SparsifyingDense({name, units: 2, kernelInitializer: 'identity', targetSparsity: 0.5});
  const layers = {a: layer('a'), b: layer('b'), c: layer('c')};
  const input = tf.input({shape: [2], name: 'x'});
  const heads = [layers.a, layers.b].map((head) => head.apply(input) as tf.SymbolicTensor);
  const sum = tf.layers.add().apply(heads) as tf.SymbolicTensor;
  const model = tf.model({inputs: input, outputs: layers.c.apply(sum) as tf.SymbolicTensor});
  for (const name of ['a', 'b', 'c'] as const) layers[name].setThreshold(thresholds[name]);
  return model;
}

describe('measureSparsity', () =>
  onEveryBackend(() => {
    it('counts what each threshold masks, a value equal to it too, over all batches', async () => {
      const model = modelWith({a: 1, b: 2, c: -Infinity});
      const batches = [
        tf.tensor2d([
          [1, -1],
          [2, 0],
        ]),
        tf.tensor2d([[3, -2]]),
      ];
      expect(await measureSparsity(model, new Dataset(batches))).to.deep.equal([
        {path: 'a', target: 0.5, actual: 3 / 6},
        {path: 'b', target: 0.5, actual: 5 / 6},
        {path: 'c', target: 0.5, actual: 0},
      ]);
      model.dispose();
      tf.dispose(batches);
    });

    it('sees the inputs of a layer as the masked layers before it make them', async () => {
      const model = modelWith({a: 1, b: 1, c: 0}); // 1 is masked, and c reads 0
      const batch = tf.tensor2d([[1, 3]]);
      const [, , c] = await measureSparsity(model, new Dataset([batch]));
      expect(c.actual).to.equal(1 / 2);
      model.dispose();
      batch.dispose();
    });

    it('reports progress and stops when asked to', async () => {
      const model = modelWith({a: 1, b: 1, c: 1});
      const batch = tf.tensor2d([
        [0, 0],
        [5, 5],
      ]);
      const done: number[] = [];
      const [{actual}] = await measureSparsity(model, new Dataset([batch, batch]), {
        onProgress: (progress) => done.push(progress.done),
      });
      expect(actual).to.equal(1 / 2);
      expect(done).to.deep.equal([1, 2]);
      const signal = AbortSignal.abort();
      const error: unknown = await measureSparsity(model, new Dataset([batch]), {signal}).catch(
        (e: unknown) => e,
      );
      expect(error).to.have.property('name', 'AbortError');
      model.dispose();
      batch.dispose();
    });

    it('refuses an empty data set and a model that is not sparsified', async () => {
      const model = modelWith({a: 1, b: 1, c: 1});
      expect((await failure(measureSparsity(model, new Dataset([])))).code).to.equal('empty');
      model.dispose();
      const dense = tf.sequential({layers: [tf.layers.dense({units: 1, inputShape: [2]})]});
      expect((await failure(measureSparsity(dense, new Dataset([])))).code).to.equal('not-sparsified');
      dense.dispose();
    });
  }));
