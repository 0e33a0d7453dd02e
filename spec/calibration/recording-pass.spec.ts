/** @file A pass over a data set: progress, abort, bad batches, what it carries out, and whose calls it records. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {calibrate} from '../../lib/calibration/calibrate.js';
import type {Batches} from '../../lib/dataset.js';
import {inspect, measureSparsity, sparsifyActivations} from '../../lib/index.js';
import {makeSparsifying, sparsifyingDenseLayers} from '../../lib/model/dense-layers.js';
import {quantileAbs} from '../../lib/stats/quantile.js';
import {disposeModels, withoutLeaks} from '../support/backends.js';
import {normals} from '../support/normals.js';

const METHODS = ['pooled', 'nncf', 'sequential'] as const;
const WIDTH = 6;
const ROWS = 8;

function twoLayers(): tf.LayersModel {
  const x = tf.input({shape: [WIDTH]});
  const layers = [1, 2].map((seed, i) =>
    tf.layers.dense({name: `d${i}`, units: WIDTH, kernelInitializer: tf.initializers.randomNormal({seed})}),
  );
  const outputs = layers.reduce((h, layer) => layer.apply(h) as tf.SymbolicTensor, x);
  return tf.model({inputs: x, outputs});
}

/** Nested arrays, so that tensors are made for them. */
function rowsOf(seed: number, special?: number): number[][] {
  const values = normals(ROWS * WIDTH, seed);
  return Array.from({length: ROWS}, (_, row) =>
    Array.from({length: WIDTH}, (_, k) =>
      special !== undefined && row === 3 && k === 2 ? special : values[row * WIDTH + k],
    ),
  );
}

/** A data set that counts what is asked of it. */
function counted(items: readonly unknown[]): Batches & {given: number} {
  const source = {
    given: 0,
    length: items.length,
    async *getInferenceData() {
      for (const item of items) {
        source.given++;
        yield await Promise.resolve(item);
      }
    },
  };
  return source;
}

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => expect.fail('it did not reject'),
    (error: unknown) => error,
  );
}

describe('a pass over a data set', () => {
  withoutLeaks(() => {
    let model: tf.LayersModel;
    beforeEach(() => void (model = twoLayers()));
    afterEach(() => disposeModels(model));
    const options = {targetSparsityByScope: {'.*': 0.5}, inPlace: true, onWarning: () => undefined};

    for (const calibration of METHODS) {
      it(`names the batch and the layer of a NaN, and changes nothing: ${calibration}`, async () => {
        for (const bad of [0, 2]) {
          const items = [0, 1, 2].map((i) => rowsOf(i + 1, i === bad ? NaN : undefined));
          const error = await rejection(sparsifyActivations(model, items, {...options, calibration}));
          expect(error).to.include({name: 'DatasetError', code: 'nan'});
          expect((error as Error).message).to.include(`batch ${bad} gives NaN at the input of layer "d0"`);
          expect(inspect(model).map(({sparsified}) => sparsified)).to.deep.equal([false, false]);
        }
      });

      it(`reads nothing if it is aborted before it begins: ${calibration}`, async () => {
        const items = counted([rowsOf(1)]);
        const signal = AbortSignal.abort(new Error('not today'));
        const error = await rejection(sparsifyActivations(model, items, {...options, calibration, signal}));
        expect((error as Error).message).to.equal('not today');
        expect(items.given).to.equal(0);
        expect(inspect(model).some(({sparsified}) => sparsified)).to.equal(false);
      });
    }

    for (const calibration of ['pooled', 'nncf'] as const) {
      it(`stops after the batch in which it is aborted, and tells how far it is: ${calibration}`, async () => {
        const items = counted([1, 2, 3].map((seed) => rowsOf(seed)));
        const controller = new AbortController();
        const seen: unknown[] = [];
        const onProgress = (progress: {done: number; total: number | null}) => {
          seen.push({...progress});
          if (progress.done === 2) controller.abort(new Error('enough'));
        };
        const {signal} = controller;
        const promise = sparsifyActivations(model, items, {...options, calibration, onProgress, signal});
        expect(((await rejection(promise)) as Error).message).to.equal('enough');
        expect(seen).to.deep.equal([
          {done: 1, total: 3},
          {done: 2, total: 3},
        ]);
        expect(items.given).to.equal(2);
      });
    }

    for (const calibration of METHODS) {
      it(`is an error on no data: ${calibration}`, async () => {
        const error = await rejection(sparsifyActivations(model, [], {...options, calibration}));
        expect(error).to.include({name: 'DatasetError', code: 'empty'});
      });

      it(`carries out what the model gives for each batch, in order: ${calibration}`, async () => {
        makeSparsifying(model, new Set(['d0', 'd1']));
        const layers = sparsifyingDenseLayers(model);
        for (const layer of layers.values()) layer.targetSparsity = 1;
        const items = [1, 2, 3].map((seed) => rowsOf(seed));
        const carried: number[] = [];
        await calibrate(model, new Map([['d0', layers.get('d0')!]]), counted(items), {
          method: calibration,
          carry: {
            tensor: model.outputs[0],
            take: (value, index) => {
              carried.push(index);
              expect(value.shape).to.deep.equal([ROWS, WIDTH]);
              value.dispose();
            },
          },
        });
        expect(carried).to.deep.equal([0, 1, 2]);
      });

      it(`carries without a layer to calibrate: ${calibration}`, async () => {
        const [items, values] = [[rowsOf(1), rowsOf(2)], [] as number[][]];
        await calibrate(model, new Map(), counted(items), {
          method: calibration,
          carry: {
            tensor: model.outputs[0],
            take: (value) => {
              values.push([...value.dataSync()]);
              value.dispose();
            },
          },
        });
        const expected = items.map((rows) =>
          tf.tidy(() => [...(model.predict(tf.tensor2d(rows)) as tf.Tensor).dataSync()]),
        );
        expect(values).to.deep.equal(expected);
      });

      it(`reads the calls of its own model alone, where a layer is called in another too: ${calibration}`, async () => {
        const other = tf.input({shape: [WIDTH], name: 'other'});
        const wide = model.getLayer('d0').apply(other) as tf.SymbolicTensor;
        const second = tf.model({inputs: other, outputs: wide});
        const items = [rowsOf(1), rowsOf(2)];
        const sparse = await sparsifyActivations(second, items, {...options, inPlace: false, calibration});
        const expected = quantileAbs(Float32Array.from(items.flat(2)), 0.5);
        if (calibration !== 'nncf') {
          expect(inspect(sparse)[0].threshold).to.be.closeTo(expected, 0.004 * expected);
        }
        await sparsifyActivations(model, items, {...options, calibration});
        expect((await measureSparsity(model, items))[0].actual).to.be.closeTo(0.5, 0.05);
        sparse.dispose();
      });
    }

    it('frees what it carries where the batch turns out bad', async () => {
      makeSparsifying(model, new Set(['d1']));
      const layers = sparsifyingDenseLayers(model);
      for (const layer of layers.values()) layer.targetSparsity = 0.5;
      const only = new Map([['d1', layers.get('d1')!]]);
      for (const method of METHODS) {
        const error = await rejection(
          calibrate(model, only, counted([rowsOf(1), rowsOf(2, NaN)]), {
            method,
            carry: {tensor: model.outputs[0], take: (value) => value.dispose()},
          }),
        );
        expect(error).to.include({code: 'nan'});
      }
    });
  });
});
