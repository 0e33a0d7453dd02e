/** @file Tensors whose memory is not of their dtype: casts on the cpu backend, and integers where floats are read. */
import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {compressWeights, inspect, measureSparsity, sparsifyActivations, withLayers} from '../lib/index.js';
import {loadLayersModel, saveLayersModel} from '../lib/io/model/model-files.js';
import {AbsHistogram} from '../lib/stats/histogram.js';
import {quantileAbs} from '../lib/stats/quantile.js';
import {floatsOf, valuesAs} from '../lib/tensor-values.js';
import {disposeModels, onEveryBackend} from './support/backends.js';

const INTEGERS = Array.from({length: 640}, (_, i) => ((i * 7) % 50) - 20);

/** The same numbers in every form that a Dense takes. */
const FORMS: Readonly<Record<string, () => tf.Tensor>> = {
  'int32, cast': () => tf.cast(tf.tensor2d(INTEGERS, [64, 10], 'int32'), 'float32'),
  int32: () => tf.tensor2d(INTEGERS, [64, 10], 'int32'),
  'nested arrays': () => tf.tensor2d(INTEGERS, [64, 10]),
};
const FLAGS: Readonly<Record<string, () => tf.Tensor>> = {
  'bool, cast': () => tf.cast(tf.greater(tf.tensor2d(INTEGERS, [64, 10]), 5), 'float32'),
  bool: () => tf.greater(tf.tensor2d(INTEGERS, [64, 10]), 5),
  'bool, cast to int32': () => tf.cast(tf.greater(tf.tensor2d(INTEGERS, [64, 10]), 5), 'int32'),
  'one-hot, cast': () =>
    tf.cast(
      tf.oneHot(
        tf.tensor1d(
          INTEGERS.slice(0, 64).map((v) => (v + 20) % 10),
          'int32',
        ),
        10,
      ),
      'float32',
    ),
};

describe('values of a dtype', () => {
  it('are the array itself if it is of the dtype, else a copy in one that is', () => {
    const floats = Float32Array.of(1, 2);
    expect(floatsOf(floats)).to.equal(floats);
    expect(floatsOf(Int32Array.of(1, -2))).to.deep.equal(Float32Array.of(1, -2));
    expect(valuesAs('int32', Uint8Array.of(1, 0))).to.deep.equal(Int32Array.of(1, 0));
    expect(valuesAs('bool', Int32Array.of(1, 0))).to.deep.equal(Uint8Array.of(1, 0));
    expect(valuesAs('complex64', floats)).to.equal(floats);
  });

  it('are counted by histograms and quantiles in any array', () => {
    for (const ArrayClass of [Int32Array, Uint8Array, Float64Array, Float32Array]) {
      const values = ArrayClass.from([3, 1, 2, 0, 4]) as unknown as Float32Array;
      const histogram = new AbsHistogram();
      histogram.add(values);
      expect([histogram.min, histogram.max, histogram.count]).to.deep.equal([0, 4, 5]);
      expect(quantileAbs(values, 0.5)).to.equal(2);
    }
  });
});

onEveryBackend(() => {
  const dense = (inputDtype: tf.DataType = 'float32') => {
    const x = tf.input({shape: [10], dtype: inputDtype});
    const layer = tf.layers.dense({units: 4, kernelInitializer: tf.initializers.randomNormal({seed: 1})});
    return tf.model({inputs: x, outputs: layer.apply(x) as tf.SymbolicTensor});
  };

  describe('inputs of every dtype', () => {
    for (const method of ['pooled', 'nncf', 'sequential'] as const) {
      for (const [form, make] of [...Object.entries(FORMS), ...Object.entries(FLAGS)]) {
        it(`are calibrated as the same numbers in float32: ${method}, ${form}`, async () => {
          const [given, dtype, floats] = tf.tidy(() => {
            const tensor = make();
            return [tf.keep(tensor), tensor.dtype, floatsOf(tensor.dataSync())] as const;
          });
          const plain = tf.tensor2d(Float32Array.from(floats), [64, 10]);
          const results = [];
          for (const [x, inputDtype] of [
            [given, 'float32'],
            [given, dtype],
            [plain, 'float32'],
          ] as const) {
            const model = dense(inputDtype);
            const sparse = await sparsifyActivations(model, [x], {
              ...{targetSparsityByScope: {'.*': 0.6}, calibration: method, onWarning: () => undefined},
            });
            const [{threshold, reached}] = inspect(sparse);
            const [{actual}] = await measureSparsity(sparse, [x]);
            results.push({threshold, reached, actual});
            disposeModels(sparse, model);
          }
          expect(results[0]).to.deep.equal(results[2]);
          expect(results[1]).to.deep.equal(results[2]);
          tf.dispose([given, plain]);
        });
      }
    }
  });

  describe('weights set from a tensor that was cast', () => {
    let folder: string;
    beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'sparsify-'))));
    afterEach(() => rm(folder, {recursive: true}));
    const integers = [1, 2, 3, 4, 5, -6];

    for (const compressed of [false, true]) {
      it(`are saved as what they are${compressed ? ', INT8 too' : ''}`, async () => {
        const model = tf.sequential({
          layers: [tf.layers.dense({units: 2, inputShape: [3], useBias: false})],
        });
        const weights = tf.tidy(() => tf.cast(tf.tensor2d(integers, [3, 2], 'int32'), 'float32'));
        model.setWeights([weights]);
        const saved = compressed ? await compressWeights(model) : model;
        await saveLayersModel(saved, folder);
        const loaded = await withLayers([], () => loadLayersModel(folder));
        const ones = tf.ones([1, 3]);
        const [before, after] = [model, loaded].map((m) =>
          tf.tidy(() => (m.predict(ones) as tf.Tensor).dataSync()),
        );
        expect([...before]).to.deep.equal([9, 0]);
        after.forEach((value, i) => expect(value).to.be.closeTo(before[i], compressed ? 0.05 : 0));
        tf.dispose([weights, ones]);
        disposeModels(...new Set([model, saved, loaded]));
      });
    }
  });
});
