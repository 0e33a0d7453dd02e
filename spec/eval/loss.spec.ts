import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {Dataset} from '../../lib/index.js';
import {allOf, checkNotEmpty, holdOut, type HeldOut} from '../../lib/eval/held-out.js';
import {accuracyLoss, divergenceLoss} from '../../lib/eval/loss.js';
import type {ClassLabels} from '../../lib/io/data/labels.js';
import {onEveryBackend} from '../support/backends.js';
import {rejection} from '../support/rejection.js';

/** A model that scales each of its inputs, and what then gives its outputs. */
function scaling(
  scales: readonly number[],
  activation: 'linear' | 'softmax' | 'sigmoid' = 'linear',
): tf.LayersModel {
  const width = scales.length;
  const model = tf.sequential({
    layers: [tf.layers.dense({units: width, inputShape: [width], activation, useBias: false})],
  });
  tf.tidy(() => {
    model.setWeights([
      tf.tensor2d(
        scales.flatMap((s, i) => scales.map((_, j) => (i === j ? s : 0))),
        [width, width],
      ),
    ]);
  });
  return model;
}

const classes = (...values: number[]): ClassLabels => ({
  kind: 'classes',
  values: Int32Array.from(values),
  shape: [values.length],
});

/** Batches of rows. */
const data = (...batches: number[][][]) => new Dataset(batches, (rows) => tf.tensor2d(rows));

onEveryBackend(() => {
  describe('a loss', () => {
    const models: tf.LayersModel[] = [];
    afterEach(() => models.splice(0).forEach((model) => model.dispose()));
    const made = (...args: Parameters<typeof scaling>) => {
      models.push(scaling(...args));
      return models[models.length - 1];
    };
    const accuracy = (sparse: tf.LayersModel, held: HeldOut, labels: ClassLabels) =>
      accuracyLoss(made([1, 1]), held, labels).measure(sparse);
    const ROWS = [
      [3, 1],
      [1, 2],
      [5, 1],
      [1, 9],
    ]; // dense: classes 0, 1, 0, 1; with the second input off: 0, 0, 0, 0

    it('of accuracy is the share of right answers dense, less that of the sparse model', async () => {
      const {loss, error} = await accuracy(made([1, 0]), allOf(data(ROWS)), classes(0, 1, 0, 0));
      // Row by row: 0, 1, 0, and -1, which the sparse model alone has right.
      expect(loss).to.equal(0);
      expect(error).to.be.closeTo(Math.sqrt(2 / 4 / 3), 1e-6);
      expect((await accuracy(made([1, 0]), allOf(data(ROWS)), classes(0, 1, 0, 1))).loss).to.equal(0.5);
      expect((await accuracy(made([1, 0]), allOf(data(ROWS)), classes(1, 0, 0, 0))).loss).to.equal(-0.5);
    });

    it('takes the labels of the whole data set, of which a part is held out', async () => {
      const batches = data([ROWS[0]], [ROWS[2], ROWS[2]], [[5, 0]], [ROWS[1], ROWS[3]], [ROWS[0]]);
      const {heldOut} = await holdOut(made([1, 1]), batches);
      const labels = classes(0, 0, 0, 0, 1, 1, 0); // those of the held-out batch are the fifth and the sixth
      expect((await accuracy(made([1, 0]), heldOut, labels)).loss).to.equal(1);
    });

    it('of accuracy refuses labels that no output can be, before anything is measured', async () => {
      for (const bad of [2, -1]) {
        const error = await rejection(
          () => accuracyLoss(made([1, 1]), allOf(data(ROWS)), classes(0, bad, 0, 1)),
          'labels-mismatch',
        );
        expect(error.message).to.include(`label ${bad} of item 1`).and.include('2 classes');
      }
      const single = await rejection(
        () => accuracyLoss(made([1]), allOf(data()), classes(0, 1, 2)),
        'labels-mismatch',
      );
      expect(single.message).to.include('single output');
      accuracyLoss(made([1]), allOf(data()), classes(0, 1, 1));
    });

    it('of accuracy refuses them where only a batch tells how many classes there are', async () => {
      const input = tf.input({shape: [null]});
      const open = tf.model({
        inputs: input,
        outputs: tf.layers.activation({activation: 'relu'}).apply(input) as tf.SymbolicTensor,
      });
      models.push(open);
      const labels = classes(0, 1, 2, 1);
      const error = await rejection(
        () => accuracyLoss(open, allOf(data(ROWS)), labels).measure(open),
        'labels-mismatch',
      );
      expect(error.message).to.include('label 2 of item 2');
    });

    it('of accuracy refuses fewer labels than items, and numbers', async () => {
      const measure = () => accuracy(made([1, 0]), allOf(data(ROWS)), classes(0, 1, 0));
      expect((await rejection(measure, 'labels-mismatch')).message).to.include('only 3 labels');
      const numbers = {kind: 'targets', values: new Float32Array(4), shape: [4]} as const;
      await rejection(() => accuracyLoss(made([1, 1]), allOf(data(ROWS)), numbers), 'bad-option');
    });

    it('of accuracy takes a single output for the probability of class 1', async () => {
      const dense = made([1]);
      const measure = accuracyLoss(dense, allOf(data([[0.2], [0.6], [0.9], [0.4]])), classes(0, 1, 1, 1));
      expect((await measure.measure(made([0]))).loss).to.equal(0.5); // 3 of 4 right, then 1
    });

    it('is the Kullback-Leibler divergence behind softmax', async () => {
      const measure = divergenceLoss(made([1, 1], 'softmax'), allOf(data([[Math.log(3), 0]])));
      expect(measure.metric).to.equal('KL divergence');
      const {loss, error} = await measure.measure(made([0, 1], 'softmax'));
      expect(loss).to.be.closeTo(0.75 * Math.log(0.75 / 0.5) + 0.25 * Math.log(0.25 / 0.5), 1e-5);
      expect(error).to.equal(null);
    });

    it('is that of each output and its opposite behind sigmoid, added up', async () => {
      const measure = divergenceLoss(made([1, 1], 'sigmoid'), allOf(data([[Math.log(3), 0]])));
      const {loss} = await measure.measure(made([0, 1], 'sigmoid'));
      expect(loss).to.be.closeTo(0.75 * Math.log(0.75 / 0.5) + 0.25 * Math.log(0.25 / 0.5), 1e-5);
    });

    it('is the squared error over the mean square of the batch otherwise', async () => {
      const measure = divergenceLoss(
        made([1, 1]),
        allOf(
          data(
            [
              [3, 4],
              [0, 5],
            ],
            [[2, 0]],
          ),
        ),
      );
      expect(measure.metric).to.equal('relative squared error');
      const {loss, error} = await measure.measure(made([1, 0.5]));
      const rows = [4 / 25, 6.25 / 25, 0];
      const mean = (rows[0] + rows[1]) / 3;
      expect(loss).to.be.closeTo(mean, 1e-6);
      const variance = rows.reduce((sum, row) => sum + (row - mean) ** 2, 0) / 3;
      expect(error).to.be.closeTo(Math.sqrt(variance / 2), 1e-6);
    });

    for (const [what, measure] of [
      ['squared error', (held: HeldOut) => divergenceLoss(made([1, 1]), held)],
      ['accuracy', (held: HeldOut) => accuracyLoss(made([1, 1]), held, classes(0, 0, 0, 0, 0))],
    ] as const) {
      it(`of ${what} refuses outputs that are NaN, and names the batch`, async () => {
        const held = allOf(data(ROWS, [[1, 1]]));
        const broken = made([1, NaN]);
        const error = await rejection(() => measure(held).measure(broken), 'nan');
        expect(error.message).to.include('give NaN').and.include('batch 0');
        const late = allOf(data(ROWS, [[NaN, 1]]));
        expect((await rejection(() => measure(late).measure(made([1, 0])), 'nan')).message).to.include(
          'batch 1',
        );
      });
    }

    it('tells how far it is, stops when told to, and needs a batch', async () => {
      const done: [number, number | null][] = [];
      const measure = divergenceLoss(made([1, 1]), allOf(data(ROWS, ROWS)));
      await measure.measure(made([1, 0]), {onProgress: ({done: at, total}) => done.push([at, total])});
      expect(done).to.deep.equal([
        [1, 2],
        [2, 2],
      ]);
      const reason = new Error('enough');
      const stopped = measure.measure(made([1, 0]), {signal: AbortSignal.abort(reason)});
      expect(await stopped.catch((error: unknown) => error)).to.equal(reason);
      await rejection(() => divergenceLoss(made([1, 1]), allOf(data())).measure(made([1, 0])), 'empty');
    });
  });
});

describe('holdOut', () => {
  const model = null as unknown as tf.LayersModel; // asked only of how many items a single batch has
  const numbers = (count: number, isKnown: boolean) =>
    isKnown ? new Dataset([...Array(count).keys()]) : new Dataset(() => [...Array(count).keys()].values());
  const read = async (batches: AsyncIterable<unknown>) => {
    const items: unknown[] = [];
    for await (const item of batches) items.push(item);
    return items;
  };

  for (const [count, expected] of [
    [2, [1]],
    [3, [2]],
    [4, [3]],
    [5, [3]],
    [8, [3, 7]],
    [11, [3, 7]],
  ] as const) {
    for (const isKnown of [true, false]) {
      it(`holds out ${expected.join(' and ')} of ${count} batches${isKnown ? '' : ', of unknown number'}`, async () => {
        const all = numbers(count, isKnown);
        const {calibration, heldOut} = await holdOut(model, all);
        const held = [...Array(count).keys()].filter((index) => heldOut.isHeldOut(index));
        expect(held).to.deep.equal(expected);
        expect(heldOut.batches).to.equal(all);
        const rest = await read(calibration.getInferenceData());
        expect(rest).to.deep.equal([...Array(count).keys()].filter((index) => !held.includes(index)));
        expect(calibration.length).to.equal(isKnown || count < 4 ? rest.length : null);
      });
    }
  }

  it('reads no more than four batches to see how many there are', async () => {
    let most = 0;
    const endless = new Dataset(function* () {
      for (let i = 1; ; i++) yield (most = Math.max(most, i));
    });
    await holdOut(model, endless);
    expect(most).to.equal(4);
  });

  for (const [items, remedy, batchSize] of [
    [1, 'of 1 item: give more items', 1],
    [2, 'of 2 items: give batches of 1 items, say, which makes several', 1],
    [9, 'of 9 items: give batches of 3 items, say, which makes several', 3],
  ] as const) {
    it(`says how to make several batches of one of ${items}`, async () => {
      const two = scaling([1, 1]);
      const before = tf.memory().numTensors;
      for (const isKnown of [true, false]) {
        const batch = () => tf.ones([items, 2]);
        const one = isKnown ? new Dataset([0], batch) : new Dataset(() => [0].values(), batch);
        const error = await rejection(() => holdOut(two, one), 'too-few-batches');
        expect(error.message).to.equal(
          'a loss is measured on batches that calibration does not see, and the data set has one, ' +
            `${remedy}, or other data to measure on (heldOut)`,
        );
        expect(error.data).to.deep.equal({batches: 1, items, batchSize});
      }
      expect(tf.memory().numTensors).to.equal(before);
      two.dispose();
    });
  }

  it('refuses data without a batch, of known and of unknown number', async () => {
    for (const isKnown of [true, false]) {
      for (const check of [
        () => holdOut(model, numbers(0, isKnown)),
        () => checkNotEmpty(numbers(0, isKnown)),
      ]) {
        expect((await rejection(check, 'empty')).message).to.equal(
          'there is no batch to measure the loss on: the data set for it is empty',
        );
      }
      await checkNotEmpty(numbers(1, isKnown));
    }
  });

  it('reads one batch to see whether there is any, and ends the walk', async () => {
    const seen: string[] = [];
    const walked = new Dataset(function* () {
      try {
        for (let i = 0; ; i++) yield seen.push(`batch ${i}`);
      } finally {
        seen.push('end');
      }
    });
    await checkNotEmpty(walked);
    expect(seen).to.deep.equal(['batch 0', 'end']);
    await holdOut(model, walked);
    expect(seen.slice(2)).to.deep.equal(['batch 0', 'batch 1', 'batch 2', 'batch 3', 'end']);
  });

  it('takes all of a data set that calibration does not read', () => {
    const all = numbers(3, true);
    const held = allOf(all);
    expect(held.batches).to.equal(all);
    expect([0, 1, 2, 3].map((index) => held.isHeldOut(index))).to.deep.equal([true, true, true, true]);
  });
});
