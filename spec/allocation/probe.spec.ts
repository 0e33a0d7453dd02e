/** @file Errors of single masked layers on graphs so small that plain sums over their inputs give them. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {probeLayers, type ProbeOptions} from '../../lib/allocation/probe.js';
import {probePlan} from '../../lib/allocation/probe-plan.js';
import {PROBE_LEVELS} from '../../lib/allocation/error-law.js';
import {runSegments} from '../../lib/allocation/segment-runs.js';
import {DatasetError} from '../../lib/errors.js';
import {Dataset, SparsifyingDense} from '../../lib/index.js';
import {quantileAbs} from '../../lib/stats/quantile.js';
import {disposeModels, onEveryBackend, withoutLeaks} from '../support/backends.js';
import {normals} from '../support/normals.js';
import {rejection} from '../support/rejection.js';

const WIDTH = 200;

type Activation = 'linear' | 'softmax' | 'sigmoid';

/** A layer that gives back its input, before its activation. */
const same = (name: string, activation: Activation = 'linear', width = WIDTH) =>
  tf.layers.dense({name, units: width, activation, useBias: false, kernelInitializer: 'identity'});

/** x + x, of which the second x goes through a layer. */
function doubling(shape: number[] = [WIDTH]): tf.LayersModel {
  const x = tf.input({shape});
  const out = tf.layers.add({name: 'sum'}).apply([x, same('a').apply(x) as tf.SymbolicTensor]);
  return tf.model({inputs: x, outputs: out as tf.SymbolicTensor});
}

const rowsOf = (values: Float32Array): Float32Array[] =>
  Array.from({length: values.length / WIDTH}, (_, i) => values.subarray(i * WIDTH, (i + 1) * WIDTH));

const sumOfSquares = (values: Iterable<number>): number => {
  let sum = 0;
  for (const value of values) sum += value ** 2;
  return sum;
};

/** Mean over rows of what masking loses of the square of twice the row, thresholds as of all these values. */
function doublingError(values: Float32Array, share: number): number {
  const threshold = quantileAbs(values, share);
  const errors = rowsOf(values).map(
    (row) => sumOfSquares(row.filter((x) => Math.abs(x) <= threshold)) / (4 * sumOfSquares(row)),
  );
  return errors.reduce((sum, error) => sum + error, 0) / errors.length;
}

const probe = (model: tf.LayersModel, items: readonly tf.Tensor[], options?: ProbeOptions, path = 'a') =>
  probeLayers(model, new Set([path]), new Dataset([...items.keys()], (i) => tf.clone(items[i])), options);

onEveryBackend(() => {
  describe('probeLayers', () => {
    const made: (tf.LayersModel | tf.Tensor)[] = [];
    afterEach(() => {
      for (const it of made.splice(0)) {
        if (it instanceof tf.Tensor) it.dispose();
        else disposeModels(it);
      }
    });
    const keep = <T extends tf.LayersModel | tf.Tensor>(it: T): T => {
      made.push(it);
      return it;
    };
    const rows = (values: Float32Array) => keep(tf.tensor2d(values, [values.length / WIDTH, WIDTH]));

    it('gives what masking 65 and 85 % of the inputs loses at the join, a row for another', async () => {
      // One row is ten times as large as the others, and counts no more than they do.
      const values = normals(3 * WIDTH, 1).map((x, i) => (i < WIDTH ? 10 * x : x));
      const {layers, ...about} = await probe(keep(doubling()), [rows(values)]);
      expect(about).to.deep.equal({...PROBE_LEVELS, rows: 3});
      const [{error, upperError, ...layer}] = layers;
      expect(layer).to.deep.equal({path: 'a', weights: WIDTH ** 2, join: 'sum'});
      expect(error).to.be.closeTo(doublingError(values, 0.65), 1e-6);
      expect(upperError).to.be.closeTo(doublingError(values, 0.85), 1e-6);
    });

    it('takes thresholds of each batch, and means over the rows of all', async () => {
      const batches = [normals(2 * WIDTH, 2), normals(WIDTH, 3, 5)];
      const {rows: count, layers} = await probe(keep(doubling()), batches.map(rows));
      expect(count).to.equal(3);
      const [first, second] = batches.map((values) => doublingError(values, 0.65));
      expect(layers[0].error).to.be.closeTo((2 * first + second) / 3, 1e-6);
    });

    it('leaves out rows whose dense result is 0', async () => {
      const values = normals(2 * WIDTH, 4).fill(0, WIDTH);
      const {rows: count, layers} = await probe(keep(doubling()), [rows(values)]);
      expect(count).to.equal(1);
      const {inputs, error, upperError} = layers[0];
      // Half of the inputs are zeros, so that 65 % of all are 30 % of the others.
      const row = values.subarray(0, WIDTH);
      expect(error).to.be.closeTo(doublingError(row, 0.3), 2e-4);
      expect(upperError).to.be.closeTo(doublingError(row, 0.7), 2e-3);
      expect(inputs).to.deep.equal({zeros: 0.5, level: 0.65, upperLevel: 0.85, gaps: []});
    });

    it('says which shares inputs with ties cannot have, and which they had', async () => {
      // 40 % are 0.1 to 1, 30 % are 2 or -2, 30 % are above.
      const values = Float32Array.from({length: WIDTH}, (_, i) =>
        i < 80 ? 0.1 + i / 100 : i < 140 ? 2 * (-1) ** i : 3 + i / 100,
      );
      const {layers} = await probe(keep(doubling()), [rows(values)]);
      expect(layers[0].inputs).to.deep.equal({zeros: 0, level: 0.7, upperLevel: 0.85, gaps: [[0.4, 0.7]]});
      const masked = sumOfSquares(values.subarray(0, 140)) / (4 * sumOfSquares(values));
      expect(layers[0].error).to.be.closeTo(masked, 1e-6);
    });

    it('compares what softmax is computed from, less its mean', async () => {
      const x = tf.input({shape: [WIDTH]});
      const model = keep(tf.model({inputs: x, outputs: same('a', 'softmax').apply(x) as tf.SymbolicTensor}));
      const values = normals(WIDTH, 5).map((x) => x + 1);
      const {layers} = await probe(model, [rows(values)]);
      const threshold = quantileAbs(values, 0.65);
      const centred = (row: Float32Array) => {
        const mean = row.reduce((sum, x) => sum + x, 0) / WIDTH;
        return row.map((x) => x - mean);
      };
      const dense = centred(values);
      const masked = centred(values.map((x) => (Math.abs(x) <= threshold ? 0 : x)));
      const expected = sumOfSquares(masked.map((x, i) => x - dense[i])) / sumOfSquares(dense);
      expect(layers[0].error).to.be.closeTo(expected, 1e-4);
    });

    it('compares what sigmoid is computed from', async () => {
      const x = tf.input({shape: [WIDTH]});
      const model = keep(tf.model({inputs: x, outputs: same('a', 'sigmoid').apply(x) as tf.SymbolicTensor}));
      const values = normals(WIDTH, 6);
      const {layers} = await probe(model, [rows(values)]);
      expect(layers[0].join).to.equal('a');
      expect(layers[0].error).to.be.closeTo(4 * doublingError(values, 0.65), 1e-4);
    });

    it('counts neither tokens that a mask leaves out nor leading ones', async () => {
      const values = normals(4 * WIDTH, 7); // two sequences of two tokens
      const item = keep(tf.tensor3d(values, [2, 2, WIDTH]));
      const [a, b, c, d] = rowsOf(values);
      for (const [options, counted] of [
        [{}, [a, b, c, d]],
        [{skipLeadingTokens: 1}, [b, d]],
        [{tokenMask: () => [[1, 1], [1, 0]]}, [a, b, c]], // prettier-ignore
        [{tokenMask: () => [[1, 1], [1, 0]], skipLeadingTokens: 1}, [b]], // prettier-ignore
      ] as const) {
        const {layers, rows: count} = await probe(keep(doubling([2, WIDTH])), [item], options);
        expect(count).to.equal(counted.length);
        const all = Float32Array.from(counted.flatMap((row) => [...row]));
        expect(layers[0].error).to.be.closeTo(doublingError(all, 0.65), 1e-6);
      }
    });

    it('refuses data of which no token counts', async () => {
      const item = keep(tf.tensor3d(normals(2 * WIDTH, 7), [1, 2, WIDTH]));
      const error = await rejection(
        () => probe(keep(doubling([2, WIDTH])), [item], {skipLeadingTokens: 2}),
        'no-rows',
      );
      expect(error.message).to.include('"a"');
    });

    it('takes the inputs of both calls of a shared layer together, masked in both', async () => {
      const x = tf.input({shape: [WIDTH]});
      const shared = same('a');
      const once = shared.apply(x) as tf.SymbolicTensor;
      const half = tf.layers.add({name: 'twice'}).apply([once, once]) as tf.SymbolicTensor;
      const again = shared.apply(half) as tf.SymbolicTensor; // reads 2x
      const sum = tf.layers.add({name: 'sum'}).apply([x, again]) as tf.SymbolicTensor;
      const model = keep(tf.model({inputs: x, outputs: sum}));
      const values = normals(WIDTH, 8);
      const {layers} = await probe(model, [rows(values)]);
      const threshold = quantileAbs(Float32Array.from([...values, ...values.map((v) => 2 * v)]), 0.65);
      const mask = (v: number) => (Math.abs(v) <= threshold ? 0 : v);
      // Dense it gives 3x.
      const lost = values.map((v) => 2 * v - mask(2 * mask(v)));
      expect(layers[0].error).to.be.closeTo(sumOfSquares(lost) / (9 * sumOfSquares(values)), 1e-6);
    });

    it('masks one layer of a block alone, from what that block reads', async () => {
      // Two branches of a join: x + 3 relu-free a(x) + b(x); and a second block, of which only c is probed.
      const x = tf.input({shape: [WIDTH]});
      const [a, b] = ['a', 'b'].map((name) => same(name).apply(x) as tf.SymbolicTensor);
      const first = tf.layers.add({name: 'first'}).apply([x, a, b]) as tf.SymbolicTensor; // 3x
      const c = same('c').apply(first) as tf.SymbolicTensor;
      const second = tf.layers.add({name: 'second'}).apply([first, c]) as tf.SymbolicTensor; // 6x
      const model = keep(tf.model({inputs: x, outputs: second}));
      const values = normals(2 * WIDTH, 9);
      const item = rows(values);
      const {layers} = await probeLayers(model, new Set(['a', 'b', 'c']), new Dataset([item]));
      expect(layers.map(({path, join}) => [path, join])).to.deep.equal([
        ['a', 'first'],
        ['b', 'first'],
        ['c', 'second'],
      ]);
      const half = doublingError(values, 0.65); // masked over twice the input
      for (const [i, share] of [4 / 9, 4 / 9, 1].entries()) {
        expect(layers[i].error).to.be.closeTo(half * share, 1e-6);
      }
      const plan = probePlan(model, new Set()); // nothing to probe: nothing to run
      expect(plan).to.deep.equal([]);
    });

    it('reads batches until it has the rows that it wants, and tells how far it is', async () => {
      const items = [1, 2, 3, 4].map((i) => rows(normals(64 * WIDTH, i)));
      const seen: [number, number][] = [];
      const onProgress = ({done, total}: {done: number; total: number | null}) => seen.push([done, total!]);
      const {rows: count} = await probe(keep(doubling()), items, {onProgress});
      expect(count).to.equal(128);
      expect(seen).to.deep.equal([
        [1, 1],
        [2, 2],
      ]);
      expect((await probe(keep(doubling()), items, {rows: 65})).rows).to.equal(128);
      expect((await probe(keep(doubling()), items, {rows: 129})).rows).to.equal(192);
      expect((await probe(keep(doubling()), items, {rows: 1000})).rows).to.equal(256);
    });

    it('counts progress in layers of a batch', async () => {
      const x = tf.input({shape: [WIDTH]});
      const out = same('b').apply(same('a').apply(x)) as tf.SymbolicTensor;
      const model = keep(tf.model({inputs: x, outputs: out}));
      const seen: [number, number][] = [];
      await probeLayers(model, new Set(['a', 'b']), new Dataset([1, 2].map((i) => rows(normals(WIDTH, i)))), {
        onProgress: ({done, total}) => seen.push([done, total!]),
      });
      expect(seen).to.deep.equal([
        [1, 2],
        [2, 2],
        [3, 4],
        [4, 4],
      ]);
    });

    it('stops where it is told to, also between two layers', async () => {
      const reason = new Error('enough');
      const item = rows(normals(WIDTH, 1));
      const controller = new AbortController();
      let steps = 0;
      const thrown = async (options: ProbeOptions) => {
        let error: unknown;
        await probe(keep(doubling()), [item, item], options).catch((e: unknown) => (error = e));
        return error;
      };
      const onProgress = () => {
        steps++;
        controller.abort(reason);
      };
      expect(await thrown({signal: controller.signal, onProgress})).to.equal(reason);
      expect(steps).to.equal(1);
      expect(await thrown({signal: AbortSignal.abort(reason)})).to.equal(reason);
    });

    it('counts rows that masking does not change', async () => {
      const values = normals(2 * WIDTH, 4).map((x, i) => (i < WIDTH ? x : 1000 + i));
      const {rows: count, layers} = await probe(keep(doubling()), [rows(values)]);
      expect(count).to.equal(2);
      const threshold = quantileAbs(values, 0.65);
      const masked = values.subarray(WIDTH).map((x) => (x <= threshold ? x : 0));
      const [first, second] = [1 / 4, sumOfSquares(masked) / (4 * sumOfSquares(values.subarray(WIDTH)))];
      expect(layers[0].error).to.be.closeTo((first + second) / 2, 1e-6);
      const batch = normals(2 * WIDTH, 4).map((x, i) => (i < 1.8 * WIDTH ? x / 1e3 : 1000 + i));
      const big = batch.subarray(WIDTH).map((_, i) => 1000 + i);
      const few = await probe(
        keep(doubling()),
        [rows(Float32Array.of(...batch.subarray(0, WIDTH), ...big))],
        {},
        'a',
      );
      expect(few.rows).to.equal(2);
    });

    it('says the mean of the shares that rows of several batches masked', async () => {
      // 40 % are below 2, and 30 or 40 % are 2.
      const tied = (count: number, ties: number) =>
        rows(
          Float32Array.from({length: count * WIDTH}, (_, i) => {
            const at = Math.floor(i / count);
            return at < 80 ? 0.1 + at / 100 : at < 80 + ties ? 2 : 3 + at / 100;
          }),
        );
      const {layers, rows: count} = await probe(keep(doubling()), [tied(3, 60), tied(1, 80)]);
      expect(count).to.equal(4);
      const {level, upperLevel, gaps} = layers[0].inputs!;
      // Where 65 % were asked 70 % were had, but not 80 %: there 40 %.
      expect(level).to.be.closeTo((3 * 0.7 + 0.4) / 4, 1e-6);
      expect(upperLevel).to.be.closeTo(0.85, 1e-6);
      expect(gaps).to.deep.equal([[0.4, 0.725]]); // of all values
    });

    it('gives a layer without rows no error, and says nothing of its inputs', async () => {
      const x = tf.input({shape: [WIDTH]});
      const a = same('a').apply(x) as tf.SymbolicTensor;
      const first = tf.layers.add({name: 'first'}).apply([x, a]) as tf.SymbolicTensor;
      const zeros = tf.layers.dense({
        name: 'zeros',
        units: WIDTH,
        kernelInitializer: 'zeros',
        useBias: false,
      });
      const product = tf.layers
        .multiply({name: 'product'})
        .apply([first, zeros.apply(first) as tf.SymbolicTensor]);
      const model = keep(tf.model({inputs: x, outputs: product as tf.SymbolicTensor}));
      const item = rows(normals(WIDTH, 3));
      const {layers, rows: count} = await probeLayers(model, new Set(['a', 'zeros']), new Dataset([item]), {
        rows: 1,
      });
      expect(count).to.equal(1);
      expect(layers[0].error).to.be.above(0);
      expect(layers[1]).to.deep.equal({
        ...{path: 'zeros', weights: WIDTH ** 2, join: 'product', error: 0, upperError: 0},
      });
    });

    it('probes nothing where nothing is to be probed', async () => {
      const item = rows(normals(WIDTH, 3));
      expect(await probeLayers(keep(doubling()), new Set(), new Dataset([item]))).to.deep.equal({
        ...PROBE_LEVELS,
        ...{rows: 0, layers: []},
      });
    });

    it('takes batches that are arrays, whose tensors are its own', async () => {
      const values = normals(2 * WIDTH, 5);
      const item = rowsOf(values).map((row) => [...row]);
      const {layers} = await probeLayers(keep(doubling()), new Set(['a']), new Dataset([item]));
      expect(layers[0].error).to.be.closeTo(doublingError(values, 0.65), 1e-6);
    });

    it('compares outputs of one number an item', async () => {
      const x = tf.input({shape: [WIDTH]});
      const sum = tf.layers.dense({name: 'a', units: 1, useBias: false, kernelInitializer: 'ones'});
      const flat = tf.layers
        .reshape({name: 'flat', targetShape: []})
        .apply(sum.apply(x)) as tf.SymbolicTensor;
      const model = keep(tf.model({inputs: x, outputs: flat}));
      const values = normals(3 * WIDTH, 5).map((v) => v + 1);
      const {layers, rows: count} = await probe(model, [rows(values)]);
      expect(count).to.equal(3);
      const threshold = quantileAbs(values, 0.65);
      const total = (row: Float32Array) => row.reduce((all, v) => all + v, 0);
      const errors = rowsOf(values).map(
        (row) => (total(row.filter((v) => Math.abs(v) <= threshold)) / total(row)) ** 2,
      );
      expect(layers[0].error).to.be.closeTo(errors.reduce((all, v) => all + v) / 3, 1e-5);
    });

    it('centres what softmax is computed from in each of its rows, of any rank', async () => {
      const x = tf.input({shape: [2, WIDTH]});
      const model = keep(tf.model({inputs: x, outputs: same('a', 'softmax').apply(x) as tf.SymbolicTensor}));
      const values = normals(4 * WIDTH, 6).map((v, i) => v + (i < WIDTH ? 2 : 0));
      const item = keep(tf.tensor3d(values, [2, 2, WIDTH]));
      const {layers} = await probe(model, [item]);
      const threshold = quantileAbs(values, 0.65);
      const centred = (row: Float32Array) => {
        const mean = row.reduce((sum, v) => sum + v, 0) / WIDTH;
        return row.map((v) => v - mean);
      };
      const errors = rowsOf(values).map((row) => {
        const dense = centred(row);
        const masked = centred(row.map((v) => (Math.abs(v) <= threshold ? 0 : v)));
        return sumOfSquares(masked.map((v, i) => v - dense[i])) / sumOfSquares(dense);
      });
      expect(layers[0].error).to.be.closeTo(errors.reduce((all, v) => all + v) / 4, 1e-4);
    });

    it('names the batch on which the model overflows, and the join', async () => {
      const items = [rows(normals(WIDTH, 1)), rows(normals(WIDTH, 2).fill(3e38))];
      const error = await rejection(() => probe(keep(doubling()), items), 'nan');
      expect(error.message).to.equal(
        'in batch 1: the batch gives NaN or Infinity at "sum"; remove or mend that batch, or see whether the model ' +
          'overflows on it',
      );
      expect(error.data).to.deep.equal({index: 1});
      expect((error.cause as Error).message).to.equal('the batch gives NaN or Infinity at "sum"');
    });

    it('refuses an empty data set, and says what may have emptied it', async () => {
      const error = await rejection(() => probe(keep(doubling()), []), 'empty');
      expect(error.message).to.equal(
        'the data set is empty: allocating needs at least one batch; a one-shot iterator that was read before gives ' +
          'nothing, pass an array or an object with Symbol.iterator instead',
      );
    });

    it('takes a sparsified layer for dense, and leaves the model as it was', async () => {
      const x = tf.input({shape: [WIDTH]});
      const layer = new SparsifyingDense({
        name: 'a',
        units: WIDTH,
        useBias: false,
        kernelInitializer: 'identity',
      });
      const out = tf.layers.add({name: 'sum'}).apply([x, layer.apply(x) as tf.SymbolicTensor]);
      const model = keep(tf.model({inputs: x, outputs: out as tf.SymbolicTensor}));
      layer.setThreshold(1);
      const values = normals(WIDTH, 3);
      const {layers} = await probe(model, [rows(values)]);
      expect(layers[0].error).to.be.closeTo(doublingError(values, 0.65), 1e-6);
      expect(layer.threshold!.read().dataSync()[0]).to.equal(1);
    });
  });
});

describe('probePlan', () => {
  it('says what changes below each layer, and what that starts from', () => {
    const x = tf.input({shape: [4], name: 'x'});
    const layer = (name: string, from: tf.SymbolicTensor) =>
      new SparsifyingDense({name, units: 4}).apply(from) as tf.SymbolicTensor;
    const add = (name: string, ...from: tf.SymbolicTensor[]) =>
      tf.layers.add({name}).apply(from) as tf.SymbolicTensor;
    const a = layer('a', x);
    const first = add('first', x, layer('b', a));
    const second = add('second', first, layer('d', layer('c', first)), layer('e', first));
    const outputs = ['p', 'q'].map((name) => layer(name, second));
    const model = tf.model({inputs: x, outputs});
    const names = (tensors: Iterable<tf.SymbolicTensor>) =>
      [...tensors].map(({sourceLayer}) => sourceLayer.name);
    const about = (paths: string[]) =>
      probePlan(model, new Set(paths)).map(({probes, boundary, join}) => ({
        ...{join, boundary: names(boundary)},
        probes: probes.map(({path, weights, below}) => [path, weights, ...names(below)]),
      }));
    expect(about(['a', 'd'])).to.deep.equal([
      {join: 'first', boundary: ['x'], probes: [['a', 16, 'a', 'b', 'first']]},
      {join: 'second', boundary: ['c', 'first', 'e'], probes: [['d', 16, 'd', 'second']]},
    ]);
    expect(about(['q'])).to.deep.equal([
      {join: 'first', boundary: [], probes: []},
      {join: 'second', boundary: [], probes: []},
      {join: 'p, q', boundary: ['second'], probes: [['q', 16, 'q']]},
    ]);
    disposeModels(model);
  });
});

describe('runSegments', () => {
  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));

    it('gives each segment what the one before gave, and passes on what the visitor throws', async () => {
      const x = tf.input({shape: [2]});
      const first = tf.layers
        .add({name: 'first'})
        .apply([x, same('a', 'linear', 2).apply(x) as tf.SymbolicTensor]);
      const b = same('b', 'linear', 2).apply(first) as tf.SymbolicTensor;
      const second = tf.layers
        .add({name: 'second'})
        .apply([first as tf.SymbolicTensor, b]) as tf.SymbolicTensor;
      const model = tf.model({inputs: x, outputs: second});
      const data = new Dataset([[[1, 2]], [[3, 4]]]);
      const seen: [string, number[], number[]][] = [];
      const paths = new Set(['a', 'b']);
      await runSegments(model, paths, data, {
        visit: async ({join, probes}, dense) => {
          const [result, ...others] = [...dense.results.values()];
          expect(others).to.deep.equal([]);
          seen.push([join, [...(await result.data())], [...dense.inputs.get(probes[0].path)!]]);
        },
        isDone: () => false,
      });
      expect(seen).to.deep.equal([
        ['first', [2, 4], [1, 2]],
        ['second', [4, 8], [2, 4]],
        ['first', [6, 8], [3, 4]],
        ['second', [12, 16], [6, 8]],
      ]);
      for (const reason of [
        new DatasetError('bad-item', 'no'),
        Object.assign(new Error('no'), {code: 'nan'}),
      ]) {
        const visit = () => Promise.reject(reason);
        const thrown: unknown = await runSegments(model, paths, data, {visit, isDone: () => false}).catch(
          (error: unknown) => error,
        );
        expect(thrown).to.equal(reason);
      }
      disposeModels(model);
    });
  });
});
