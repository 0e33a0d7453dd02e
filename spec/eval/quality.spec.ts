import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {Dataset} from '../../lib/dataset.js';
import {measureQuality, type Quality, type QualityOptions} from '../../lib/eval/quality.js';
import type {Labels} from '../../lib/io/data/labels.js';
import {withoutLeaks} from '../support/backends.js';
import {failure} from '../support/io/files.js';

/** A model that gives back its input. */
function identity(width: number): tf.LayersModel {
  const [kernelInitializer, useBias] = ['identity', false] as const;
  return tf.sequential({
    layers: [tf.layers.dense({units: width, inputShape: [width], kernelInitializer, useBias})],
  });
}

function classes(...values: number[]): Labels {
  return {kind: 'classes', values: Int32Array.from(values), shape: [values.length]};
}

function targets(...rows: number[][]): Labels {
  return {kind: 'targets', values: Float32Array.from(rows.flat()), shape: [rows.length, rows[0].length]};
}

/** The quality of an identity model on batches of outputs. */
async function quality(
  batches: readonly number[][][],
  labels: Labels,
  options: QualityOptions = {},
): Promise<Quality> {
  const width = batches[0]?.[0].length ?? 2;
  const model = identity(width);
  const data = new Dataset(batches, (rows) => tf.tensor2d(rows));
  try {
    return await measureQuality(model, data, labels, options);
  } finally {
    model.dispose();
  }
}

const BATCHES = [
  [
    [0.9, 0.1],
    [0.2, 0.8],
  ],
  [[0.6, 0.4]],
];

describe('measureQuality', () =>
  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));

    it('is the share of right classes, over batches of different sizes', async () => {
      expect(await quality(BATCHES, classes(0, 1, 0))).to.deep.equal({
        metric: 'accuracy',
        value: 1,
        items: 3,
      });
      expect((await quality(BATCHES, classes(1, 1, 1))).value).to.equal(1 / 3);
    });

    it('takes a single output for the probability of class 1 if labels are 0 or 1', async () => {
      const probabilities = [[[0.9], [0.1], [0.51]]];
      const {metric, value} = await quality(probabilities, classes(1, 0, 0));
      expect(metric).to.equal('accuracy');
      expect(value).to.equal(2 / 3);
    });

    it('takes a single output for a number if labels are other whole numbers', async () => {
      expect(await quality([[[1], [4]]], classes(1, 2))).to.deep.equal({
        metric: 'mean squared error',
        value: (0 + 4) / 2,
        items: 2,
      });
    });

    it('is the mean squared difference over all values of targets', async () => {
      const {metric, value} = await quality([[[1, 2]], [[3, 4]]], targets([1, 0], [0, 4]));
      expect(metric).to.equal('mean squared error');
      expect(value).to.equal((0 + 4 + 9 + 0) / 4);
    });

    it('reports progress and stops when asked to', async () => {
      const done: [number, number | null][] = [];
      await quality(BATCHES, classes(0, 1, 0), {onProgress: (step) => done.push([step.done, step.total])});
      expect(done).to.deep.equal([
        [1, 2],
        [2, 2],
      ]);
      const controller = new AbortController();
      const options = {signal: controller.signal, onProgress: () => controller.abort()};
      const error: unknown = await quality(BATCHES, classes(0, 1, 0), options).catch((e: unknown) => e);
      expect(error).to.have.property('name', 'AbortError');
    });

    it('takes the first labels of a partial data set only if told so', async () => {
      const labels = classes(0, 1, 0, 1);
      expect((await failure(quality(BATCHES, labels))).code).to.equal('labels-mismatch');
      expect((await quality(BATCHES, labels, {partial: true})).items).to.equal(3);
    });

    it('refuses more items than labels, partial or not', async () => {
      for (const partial of [false, true]) {
        const error = await failure(quality(BATCHES, classes(0, 1), {partial}));
        expect(error.code).to.equal('labels-mismatch');
        expect(error.message).to.include('2 labels');
      }
    });

    it('refuses a class that the model does not have, and targets of another width', async () => {
      const error = await failure(quality(BATCHES, classes(0, 2, 0)));
      expect(error.code).to.equal('labels-mismatch');
      expect(error.message).to.include('label 2 of item 1');
      const other = await failure(quality(BATCHES, targets([1, 2, 3], [1, 2, 3], [1, 2, 3])));
      expect(other.message).to.include('2 values').and.include('have 3');
    });

    it('names the batch that makes the model give NaN', async () => {
      const batches = [[[1, 2]], [[NaN, 0]]];
      for (const labels of [classes(1, 0), targets([1, 2], [0, 0])]) {
        const error = await failure(quality(batches, labels));
        expect(error.code).to.equal('nan');
        expect(error.message).to.include('batch 1');
      }
    });

    it('refuses an empty data set and a disposed model', async () => {
      expect((await failure(quality([], classes(0)))).code).to.equal('empty');
      const gone = identity(2);
      gone.dispose();
      expect((await failure(measureQuality(gone, new Dataset([]), classes(0)))).code).to.equal('disposed');
    });

    it('says in full what does not fit', async () => {
      const same = '; labels and data must hold the same items in the same order, and classes count from 0';
      for (const [batches, labels, options, said] of [
        [BATCHES, classes(0, 1), {}, 'there are only 2 labels for the items'],
        [BATCHES, classes(0, 1, 0, 0), {}, 'there are 4 labels for 3 items'],
        [BATCHES, classes(0, 1, 2), {}, 'label 2 of item 2 is no class of the model, whose output has 2'],
        [BATCHES, classes(0, -1, 1), {}, 'label -1 of item 1 is no class of the model, whose output has 2'],
        [BATCHES, targets([1], [2], [3]), {}, 'the model gives 2 values an item and the labels have 1'],
      ] as const) {
        expect((await failure(quality(batches, labels, options))).message).to.equal(said + same);
      }
      const single = await failure(quality([[[0.2], [0.9]]], classes(0, -1)));
      expect(single.message).to.include('label -1 of item 1 is no class of the model, whose output has 1');
      const nan = await failure(quality([[[1, 2]], [[3, NaN]]], classes(0, 1)));
      expect(nan.message).to.equal('batch 1 makes the model give NaN; remove or mend that batch');
      expect(nan.data).to.deep.equal({batch: 1});
      expect((await failure(quality([], classes(0)))).message).to.equal(
        'the data set is empty: there is nothing to measure',
      );
    });

    it('takes a probability of a half for class 0, and the first of equal classes', async () => {
      expect((await quality([[[0.5]]], classes(0))).value).to.equal(1);
      expect((await quality([[[0.9], [0.8], [0.1]]], classes(1, 1, 0))).value).to.equal(1);
      expect((await quality([[[0.5, 0.5]]], classes(0))).value).to.equal(1);
      expect((await quality([[[-3, -2]]], classes(1))).value).to.equal(1);
    });

    it('runs models of several inputs, and of outputs of higher rank, of which the first counts', async () => {
      const inputs = [tf.input({shape: [2]}), tf.input({shape: [2]})];
      const sum = tf.layers.add().apply(inputs) as tf.SymbolicTensor;
      const folded = tf.layers.reshape({targetShape: [1, 2]}).apply(sum) as tf.SymbolicTensor;
      const model = tf.model({inputs, outputs: [folded, sum]});
      const data = new Dataset([0], () => [tf.tensor2d([[1, 2]]), tf.tensor2d([[3, 5]])]);
      expect(await measureQuality(model, data, classes(1))).to.deep.equal({
        ...{metric: 'accuracy', value: 1, items: 1},
      });
      expect(await measureQuality(model, data, targets([4, 10]))).to.deep.equal({
        ...{metric: 'mean squared error', value: 9 / 2, items: 1},
      });
      model.dispose();
    });

    it('refuses an item of which a part alone is NaN', async () => {
      const x = tf.input({shape: [2]});
      const model = tf.model({inputs: x, outputs: tf.layers.reLU().apply(x) as tf.SymbolicTensor});
      const data = new Dataset([0], () => tf.tensor2d([[3, NaN]]));
      for (const labels of [classes(0), targets([3, 0])]) {
        expect((await failure(measureQuality(model, data, labels))).code).to.equal('nan');
      }
      model.dispose();
    });

    it('builds a model that was not used yet', async () => {
      const fresh = tf.sequential({layers: [tf.layers.dense({units: 1, inputShape: [1]})]});
      const {items} = await measureQuality(fresh, new Dataset([[[0.3]]]), classes(0));
      expect(items).to.equal(1);
      fresh.dispose();
    });
  }));
