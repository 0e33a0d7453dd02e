/** @file The pipeline over every topology: select, replace, calibrate, measure, retarget, and what it refuses. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {statisticsOf} from '../lib/metadata/attached-statistics.js';
import {Dataset} from '../lib/dataset.js';
import {type SparsifyError} from '../lib/errors.js';
import {measureSparsity, type LayerSparsity} from '../lib/eval/measure-sparsity.js';
import {sparsifyingDenseLayers} from '../lib/model/dense-layers.js';
import {walkModel} from '../lib/model/walk.js';
import {asContainer, onlyTensor} from '../lib/tfjs.js';
import {registerLayers} from '../lib/layers/registry.js';
import {SparsifyingDense} from '../lib/layers/sparsifying-dense.js';
import {inspect} from '../lib/model/inspect.js';
import {IgnoredScope, TargetScope} from '../lib/scope/target-scope.js';
import {quantileAbs} from '../lib/stats/quantile.js';
import {retarget, sparsifyActivations, type SparsifyOptions} from '../lib/sparsify.js';
import {disposeModels, onEveryBackend, withoutLeaks} from './support/backends.js';
import {savedArtifacts} from './support/saved-artifacts.js';
import {normals} from './support/normals.js';
import {TOPOLOGIES} from './support/model/topologies.js';
import {residualMlp} from '../scripts/bench/measure/models.js';

const HALF = {targetSparsityByScope: {'.*': 0.5}};

/** The error that a promise rejects with. */
async function rejection(promise: Promise<unknown>): Promise<SparsifyError> {
  const result = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(result, 'rejects').to.be.instanceOf(Error);
  return result as SparsifyError;
}

function values(model: tf.LayersModel, batch: tf.Tensor[]): number[] {
  return tf.tidy(() =>
    [model.predict(batch.length === 1 ? batch[0] : batch)].flat().flatMap((y) => [...y.dataSync()]),
  );
}

/** Gives a model weights that are the same in every run. */
function seeded(model: tf.LayersModel): tf.LayersModel {
  const weights = walkModel(asContainer(model)).layers.flatMap(({layer}) => layer.weights);
  [...new Set(weights)].forEach((weight, i) => {
    const shape = weight.shape as number[];
    const size = tf.util.sizeFromShape(shape);
    tf.tidy(() => void weight.write(tf.tensor(normals(size, 1000 + i, 1 / Math.sqrt(shape[0])), shape)));
  });
  return model;
}

/** All values that each Dense of a sparse model reads, by path. */
function readBy(model: tf.LayersModel, batches: tf.Tensor[][]): Map<string, number[]> {
  const read = new Map<string, number[]>();
  const forms = sparsifyingDenseLayers(model);
  for (const [path, layer] of forms) {
    read.set(path, []);
    layer.setCallHook((x) => read.get(path)!.push(...onlyTensor(x).dataSync()));
  }
  for (const batch of batches) values(model, batch);
  for (const layer of forms.values()) layer.clearCallHook();
  return read;
}

function shareWithin(read: readonly number[], limit: number): number {
  return read.filter((value) => Math.abs(value) <= limit).length / read.length;
}

function withThresholds(measured: readonly LayerSparsity[], model: tf.LayersModel) {
  const thresholds = new Map(inspect(model).map(({path, threshold}) => [path, threshold!]));
  return measured.map((layer) => ({...layer, threshold: thresholds.get(layer.path)!}));
}

/** Deep, without residuals: masking changes every layer's input much. */
function deepModel(): tf.LayersModel {
  const x = tf.input({shape: [48], name: 'x'});
  let h = x;
  for (let i = 0; i < 10; i++) {
    const init = tf.initializers.heNormal({seed: i});
    const layer = tf.layers.dense({
      name: `layer_${i}`,
      units: 48,
      activation: 'relu',
      kernelInitializer: init,
    });
    h = layer.apply(h) as tf.SymbolicTensor;
  }
  return tf.model({inputs: x, outputs: h});
}

describe('sparsifyActivations', () => {
  onEveryBackend(() => {
    for (const {name, build, batch, paths} of TOPOLOGIES) {
      for (const calibration of ['pooled', 'nncf'] as const) {
        it(`sparsifies ${name} with ${calibration} statistics and leaves the original usable`, async () => {
          const model = seeded(build());
          const batches = [1, 11, 21, 31].map((seed) => batch(seed));
          const expected = values(model, batches[0]);
          const sparse = await sparsifyActivations(model, new Dataset(batches), {...HALF, calibration});
          expect(inspect(sparse).map(({path, sparsified}) => [path, sparsified])).to.deep.equal(
            paths.map((path) => [path, true]),
          );
          for (const {threshold} of inspect(sparse)) expect(threshold).to.be.finite;
          expect(inspect(model).every(({sparsified}) => !sparsified)).to.equal(true);
          expect(values(model, batches[0])).to.deep.equal(expected);
          expect(values(sparse, batches[0])).to.not.deep.equal(expected);
          const measured = await measureSparsity(sparse, new Dataset(batches));
          expect(measured.map(({path}) => path)).to.deep.equal(paths);
          const read = readBy(sparse, batches);
          for (const {path, actual, target, threshold} of withThresholds(measured, sparse)) {
            expect(target).to.equal(0.5);
            const share = (limit: number) => shareWithin(read.get(path)!, limit);
            expect(actual, path).to.be.closeTo(share(threshold), 1e-9);
            // The zeros of a ReLU come on top. 120 to 480 values, of which the first batch's masks differ in the end.
            expect(actual, path).to.be.closeTo(Math.max(0.5, share(0)), 0.1);
          }
          sparse.dispose();
          disposeModels(model);
          tf.dispose(batches);
        });
      }

      it(`saves and loads ${name}`, async function () {
        if (name.includes('ustom layer')) return; // its class is not registered: TensorFlow.js cannot load it
        registerLayers();
        const model = build();
        const batches = [batch(1), batch(2)];
        const sparse = await sparsifyActivations(model, new Dataset(batches), HALF);
        const artifacts = await savedArtifacts(sparse);
        const saved = JSON.parse(
          JSON.stringify({...artifacts, weightData: undefined}),
        ) as tf.io.ModelArtifacts;
        saved.weightData = artifacts.weightData;
        const loaded = await tf.loadLayersModel(tf.io.fromMemory(saved));
        expect(inspect(loaded)).to.deep.equal(inspect(sparse));
        expect(values(loaded, batches[0])).to.deep.equal(values(sparse, batches[0]));
        disposeModels(model, sparse, loaded);
        tf.dispose(batches);
      });
    }

    const deepModels = [
      {name: 'ten layers without residuals', build: deepModel, width: 48, target: 0.7},
      {
        name: 'a 30-block transformer-shaped MLP',
        build: () => residualMlp({blocks: 30, width: 64, hidden: 128}),
        width: 64,
        target: 0.5,
      },
    ];
    for (const {name, build, width, target} of deepModels) {
      it(`keeps every layer of ${name} within a point of its target, all above it masked`, async () => {
        const model = build();
        // Rounding flips masks, and those all below: with 256 rows a batch the shares vary by 0.3 points, with these by half.
        const batches = Array.from({length: 8}, (_, i) =>
          tf.tensor2d(normals(1024 * width, i + 1), [1024, width]),
        );
        const sparse = await sparsifyActivations(model, new Dataset(batches.slice(0, 4)), {
          targetSparsityByScope: {'.*': target},
        });
        const measured = await measureSparsity(sparse, new Dataset(batches.slice(4)));
        disposeModels(sparse, model);
        tf.dispose(batches);
        for (const {path, actual} of measured) expect(actual, path).to.be.closeTo(target, 0.01);
      });
    }

    it('reads a one-shot iterable once, first item included', async () => {
      const model = deepModel();
      const make = (i: number) => tf.tensor2d(normals(8 * 48, i), [8, 48]);
      const batches = [make(1), make(2), make(3)];
      function* once() {
        yield* batches;
      }
      const fromArray = await sparsifyActivations(model, new Dataset(batches), HALF);
      const fromIterator = await sparsifyActivations(model, new Dataset(once()), HALF);
      expect(inspect(fromIterator)).to.deep.equal(inspect(fromArray));
      disposeModels(model, fromArray, fromIterator);
      tf.dispose(batches);
    });

    it('changes the model itself in place, and nothing when it fails', async () => {
      const {build, batch} = TOPOLOGIES[0];
      const model = build();
      const good = batch(1)[0];
      const bad = tf.tidy(() => tf.mul(good, NaN));
      const before = values(model, [good]);
      const error = await rejection(
        sparsifyActivations(model, new Dataset([good, bad]), {...HALF, inPlace: true}),
      );
      expect(error.code).to.equal('nan');
      expect(error.message).to.include('batch 1').and.include('"first"');
      expect(inspect(model).some(({sparsified}) => sparsified)).to.equal(false);
      expect(values(model, [good])).to.deep.equal(before);

      const sparse = await sparsifyActivations(model, new Dataset([good]), {...HALF, inPlace: true});
      expect(sparse).to.equal(model);
      const calibrated = inspect(model);
      await rejection(
        sparsifyActivations(model, new Dataset([bad]), {targetSparsityByScope: {'.*': 0.9}, inPlace: true}),
      );
      expect(inspect(model)).to.deep.equal(calibrated);
      model.dispose();
      tf.dispose([good, bad]);
    });

    it('reports progress and stops when asked to', async () => {
      const {build, batch} = TOPOLOGIES[0];
      const model = build();
      const batches = [1, 2, 3].map((seed) => batch(seed)[0]);
      const progress: [number, number | null][] = [];
      const sparse = await sparsifyActivations(model, new Dataset(batches), {
        ...HALF,
        onProgress: ({done, total}) => progress.push([done, total]),
      });
      expect(progress).to.deep.equal([
        [1, 3],
        [2, 3],
        [3, 3],
      ]);
      const controller = new AbortController();
      const error = await rejection(
        sparsifyActivations(model, new Dataset(batches), {
          ...HALF,
          signal: controller.signal,
          onProgress: () => controller.abort(),
        }),
      );
      expect(error.name).to.equal('AbortError');
      expect(inspect(model).some(({sparsified}) => sparsified)).to.equal(false);
      disposeModels(model, sparse);
      tf.dispose(batches);
    });

    it('leaves padding and leading tokens out of the statistics', async () => {
      const x = tf.input({shape: [4, 8], name: 'x'});
      const y = tf.layers.dense({name: 'head', units: 3}).apply(x) as tf.SymbolicTensor;
      const model = tf.model({inputs: x, outputs: y});
      const values = normals(2 * 4 * 8, 3);
      const padding = [0, 7]; // position 0 of sequence 0 and position 3 of sequence 1 are large
      values.forEach((value, i) => (values[i] = padding.includes(Math.floor(i / 8)) ? 100 * value : value));
      const batch = tf.tensor3d(values, [2, 4, 8]);
      /** The threshold for 60 % of what is at these positions. */
      const expected = (positions: readonly number[]) =>
        quantileAbs(
          Float32Array.from(positions.flatMap((at) => [...values.subarray(8 * at, 8 * at + 8)])),
          0.6,
        );
      const expectThreshold = async (
        calibration: SparsifyOptions['calibration'],
        positions: readonly number[],
      ) => {
        const sparse = await sparsifyActivations(model, new Dataset([batch]), {
          targetSparsityByScope: {head: 0.6},
          calibration,
        });
        const [{threshold}] = inspect(sparse);
        sparse.dispose();
        expect(threshold).to.be.closeTo(expected(positions), 0.004 * expected(positions));
      };
      const tokenMask = () => [
        [0, 1, 1, 1],
        [1, 1, 1, 0],
      ];
      const rest = () => [
        [1, 1, 1, 1],
        [1, 1, 1, 0],
      ];
      for (const method of ['pooled', 'nncf', 'sequential'] as const) {
        await expectThreshold({method}, [0, 1, 2, 3, 4, 5, 6, 7]);
        await expectThreshold({method, tokenMask}, [1, 2, 3, 4, 5, 6]);
        await expectThreshold({method, tokenMask: rest, skipLeadingTokens: 1}, [1, 2, 3, 5, 6]);
        await expectThreshold({method, skipLeadingTokens: 2}, [2, 3, 6, 7]);
      }
      model.dispose();
      tf.dispose(batch);
    });

    it('takes inputs by position, by name, from {xs, ys}, and as nested arrays', async () => {
      const {build} = TOPOLOGIES.find(({name}) => name === 'several inputs and outputs')!;
      const model = build();
      const [a, b] = [tf.tensor2d(normals(16, 1), [2, 8]), tf.tensor2d(normals(16, 2), [2, 8])];
      const arrays = {a: a.arraySync(), b: b.arraySync()};
      const reports = [];
      for (const item of [[a, b], {a, b}, {b, a}, {xs: {a, b}, ys: a}, {xs: [a, b], ys: a}, arrays]) {
        const sparse = await sparsifyActivations(model, new Dataset([item]), HALF);
        reports.push(inspect(sparse));
        sparse.dispose();
      }
      for (const report of reports) expect(report).to.deep.equal(reports[0]);
      model.dispose();
      tf.dispose([a, b]);
    });

    it('keeps the tensor count flat over 1,000 predictions', async () => {
      const {build, batch} = TOPOLOGIES[0];
      const model = build();
      const x = batch(1);
      const sparse = await sparsifyActivations(model, new Dataset([x]), HALF);
      const before = tf.memory().numTensors;
      for (let i = 0; i < 1000; i++) tf.dispose(sparse.predict(x[0]));
      expect(tf.memory().numTensors).to.equal(before);
      disposeModels(model, sparse);
      tf.dispose(x);
    });
  });

  describe('refuses', () =>
    withoutLeaks(() => {
      let model: tf.LayersModel;
      let batch: tf.Tensor;
      before(() => tf.setBackend('cpu'));
      beforeEach(() => {
        model = TOPOLOGIES[0].build();
        batch = TOPOLOGIES[0].batch(1)[0];
      });
      afterEach(() => {
        model.dispose();
        batch.dispose();
      });

      const sparsify = (options: Partial<SparsifyOptions> = {}, data: unknown[] = [batch]) =>
        rejection(sparsifyActivations(model, new Dataset(data), {...HALF, ...options}));

      it('a pattern that matches nothing, with the nearest names', async () => {
        const error = await sparsify({targetSparsityByScope: {frist: 0.5}});
        expect(error.code).to.equal('unmatched-rule');
        expect(error.message).to.include('first');
      });

      it('a target of 1.2', async () => {
        const error = await sparsify({targetSparsityByScope: {'.*': 1.2}});
        expect(error.code).to.equal('target-out-of-range');
        expect(error.message).to.include('1.2').and.include('[0, 1]');
      });

      it('a layer that two scopes match', async () => {
        const error = await sparsify({
          targetSparsityByScope: [
            [new TargetScope({names: ['first']}), 0.3],
            [new TargetScope({types: ['Dense']}), 0.5],
          ],
        });
        expect(error.code).to.equal('overlap');
      });

      it('scopes that leave nothing', async () => {
        const error = await sparsify({ignoredScope: new IgnoredScope({types: ['Dense']})});
        expect(error.code).to.equal('nothing-to-sparsify');
      });

      it('an empty data set', async () => {
        expect((await sparsify({}, [])).code).to.equal('empty');
      });

      it('a batch of the wrong shape, by its index', async () => {
        const wrong = tf.ones([5, 9]);
        const error = await sparsify({}, [batch, wrong]);
        expect(error.code).to.equal('wrong-shape');
        expect(error.message).to.include('item 1').and.include('[5, 9]').and.include('[any, 8]');
        wrong.dispose();
      });

      it('a sample without its batch dimension', async () => {
        const sample = tf.ones([8]);
        expect((await sparsify({}, [sample])).message).to.include('expandDims');
        sample.dispose();
      });

      it('an item that is no data', async () => {
        expect((await sparsify({}, ['text'])).code).to.equal('bad-item');
        expect((await sparsify({}, [[batch, batch]])).code).to.equal('wrong-inputs');
        expect((await sparsify({}, [{y: batch}])).code).to.equal('wrong-inputs');
        expect((await sparsify({}, [{}])).message).to.include('lacks the input');
      });

      it('options that are missing or misspelt', async () => {
        const none = undefined as unknown as SparsifyOptions;
        expect((await rejection(sparsifyActivations(model, [batch], none))).code).to.equal('missing-option');
        const error = await sparsify({calibraton: 'nncf'} as Partial<SparsifyOptions>);
        expect(error.code).to.equal('unknown-option');
        expect(error.message).to.include('"calibration"');
      });

      it('an unknown calibration method', async () => {
        const error = await sparsify({calibration: 'pool' as 'pooled'});
        expect(error.code).to.equal('unknown-method');
        expect(error.message).to.include('"pooled"');
      });

      it('an alpha outside (0, 1)', async () => {
        for (const alpha of [0, 1, -0.1, 1.5]) {
          const error = await sparsify({calibration: {method: 'nncf', alpha}});
          expect(error.code).to.equal('alpha-out-of-range');
        }
      });

      it('a model without Dense layers', async () => {
        const flat = tf.sequential({layers: [tf.layers.flatten({inputShape: [2, 4]})]});
        const error = await rejection(sparsifyActivations(flat, new Dataset([batch]), HALF));
        expect(error.code).to.equal('no-dense-layers');
        expect(error.message).to.include('Flatten');
      });

      it('a disposed model', async () => {
        const gone = TOPOLOGIES[0].build();
        gone.dispose();
        expect((await rejection(sparsifyActivations(gone, new Dataset([batch]), HALF))).code).to.equal(
          'disposed',
        );
      });

      it('a model that is not built, and something that is no model', async () => {
        const unbuilt = tf.sequential();
        expect((await rejection(sparsifyActivations(unbuilt, [batch], HALF))).code).to.equal('not-built');
        const none = {predict: () => 0} as unknown as tf.LayersModel;
        expect((await rejection(sparsifyActivations(none, [batch], HALF))).code).to.equal(
          'not-a-layers-model',
        );
      });

      it('to measure a dense model', async () => {
        expect((await rejection(measureSparsity(model, [batch]))).code).to.equal('not-sparsified');
      });
    }));
});

describe('retarget', () =>
  withoutLeaks(() => {
    let model: tf.LayersModel;
    let batches: tf.Tensor[];
    before(() => tf.setBackend('cpu'));
    beforeEach(() => {
      model = deepModel();
      batches = Array.from({length: 4}, (_, i) => tf.tensor2d(normals(64 * 48, i + 1), [64, 48]));
    });
    afterEach(() => {
      model.dispose();
      tf.dispose(batches);
    });

    it('gives the thresholds of another target without data', async () => {
      const half = await sparsifyActivations(model, new Dataset(batches), HALF);
      const report = retarget(half, {layer_0: 0.8});
      expect(report[0].target).to.equal(0.8);
      expect(report[1].target).to.equal(0.5);
      const direct = await sparsifyActivations(model, new Dataset(batches), {
        targetSparsityByScope: {layer_0: 0.8},
      });
      expect(report[0].threshold).to.equal(inspect(direct)[0].threshold);
      disposeModels(half, direct);
    });

    it('takes scopes with an ignored scope, and refuses what was not calibrated', async () => {
      const sparse = await sparsifyActivations(model, new Dataset(batches), {
        targetSparsityByScope: {'layer_[0-3]': 0.5},
      });
      const ignoredScope = new IgnoredScope({patterns: ['layer_[4-9]', 'layer_0']});
      const report = retarget(sparse, {targetSparsityByScope: {'.*': 0.6}, ignoredScope});
      expect(report.map(({target}) => target).slice(0, 5)).to.deep.equal([0.5, 0.6, 0.6, 0.6, null]);
      const before = inspect(sparse);
      expect(() => retarget(sparse, {'.*': 0.7}))
        .to.throw('layer_4')
        .with.property('code', 'not-calibrated');
      expect(inspect(sparse)).to.deep.equal(before);
      expect(() => retarget(model, {'.*': 0.7}))
        .to.throw()
        .with.property('code', 'no-statistics');
      sparse.dispose();
    });

    it('works on a model that was saved with its statistics and loaded', async () => {
      registerLayers();
      const sparse = await sparsifyActivations(model, new Dataset(batches), {...HALF, saveStatistics: true});
      const saved = await savedArtifacts(sparse);
      const copy = {
        ...saved,
        userDefinedMetadata: JSON.parse(JSON.stringify(saved.userDefinedMetadata)) as object,
      };
      const loaded = await tf.loadLayersModel(tf.io.fromMemory(copy));
      expect(retarget(loaded, {'.*': 0.9})).to.deep.equal(retarget(sparse, {'.*': 0.9}));
      disposeModels(sparse, loaded);
    });

    it('merges statistics of two shares of the data', async () => {
      const [all, one, two] = await Promise.all(
        [batches, batches.slice(0, 2), batches.slice(2)].map((share) =>
          sparsifyActivations(model, new Dataset(share), {targetSparsityByScope: {layer_0: 0.5}}),
        ),
      );
      const merged = statisticsOf(one);
      merged.merge(statisticsOf(two));
      expect(retarget(one, {layer_0: 0.7})[0].threshold).to.equal(retarget(all, {layer_0: 0.7})[0].threshold);
      expect(() => merged.merge(statisticsOf(all))).to.not.throw();
      disposeModels(all, one, two);
    });
  }));

describe('SparsifyingDense', () => {
  onEveryBackend(() => {
    it('is the identity mask until it is calibrated', () => {
      const args = {units: 5, activation: 'relu' as const, inputShape: [8], name: 'd'};
      const stock = tf.sequential({layers: [tf.layers.dense(args)]});
      const ours = tf.sequential({layers: [new SparsifyingDense(args)]});
      tf.tidy(() => {
        const [kernel, bias] = stock.getWeights();
        ours.layers[0].setWeights([kernel, bias, ours.getWeights()[2]]);
      });
      const x = TOPOLOGIES[0].batch(1);
      const expected = values(stock, x);
      values(ours, x).forEach((value, i) => expect(value).to.be.closeTo(expected[i], 1e-5));
      disposeModels(stock, ours);
      tf.dispose(x);
    });

    it('applies activations that no kernel fuses', () => {
      for (const activation of ['elu', 'softmax', 'selu', 'hardSigmoid'] as const) {
        const y = tf.tidy(() => {
          const layer = new SparsifyingDense({units: 3, activation, kernelInitializer: 'ones'});
          const result = layer.apply(tf.tensor2d([[1, -2]])) as tf.Tensor;
          const stock = tf.layers.dense({units: 3, activation, kernelInitializer: 'ones'});
          const expected = stock.apply(tf.tensor2d([[1, -2]])) as tf.Tensor;
          const pair = [[...result.dataSync()], [...expected.dataSync()]];
          layer.dispose();
          stock.dispose();
          return pair;
        }) as unknown as [number[], number[]];
        y[0].forEach((value, i) => expect(value).to.be.closeTo(y[1][i], 1e-6));
      }
    });

    it('trains: gradients reach the weights and leave the threshold alone', async () => {
      const model = TOPOLOGIES[1].build();
      const [x] = TOPOLOGIES[1].batch(1);
      const y = tf.ones([5, 3]);
      const sparse = await sparsifyActivations(model, new Dataset([x]), HALF);
      sparse.compile({optimizer: 'sgd', loss: 'meanSquaredError'});
      const thresholds = inspect(sparse).map(({threshold}) => threshold);
      const {history} = await sparse.fit(x, y, {epochs: 5, verbose: 0});
      expect(Number(history.loss[4])).to.be.lessThan(Number(history.loss[0]));
      expect(inspect(sparse).map(({threshold}) => threshold)).to.deep.equal(thresholds);
      disposeModels(model, sparse);
      tf.dispose([x, y]);
    });
  });
});
