/** @file The calibration methods against plain loops over plain arrays, which say what each layer reads in each batch. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {
  inspect,
  sparsifyActivations,
  statisticsOf,
  type CalibrationMethod,
  type SparsifyWarning,
} from '../../lib/index.js';
import {quantileAbs} from '../../lib/stats/quantile.js';
import {onlyTensor, type Layer} from '../../lib/tfjs.js';
import {disposeModels, onEveryBackend, withoutLeaks} from '../support/backends.js';
import {normals} from '../support/normals.js';

const WIDTH = 12;
const ROWS = 40;
const TARGETS = [0.4, 0.6, 0.5];
const BY_LAYER = {d0: TARGETS[0], d1: TARGETS[1], d2: TARGETS[2]};

/** A histogram's quantile lies within a bucket of 0.4 %; the masks that differ by it move deeper ones a little more. */
const TOLERANCE = 0.008;

type Rows = Float32Array;

/** The kernel of a layer, [WIDTH, WIDTH], row-major. */
const kernelOf = (layer: number) => normals(WIDTH * WIDTH, 50 + layer, 0.4);

function denseOf(layer: number, name = `d${layer}`): Layer {
  return tf.layers.dense({
    name,
    units: WIDTH,
    activation: 'tanh',
    useBias: false,
    kernelInitializer: 'zeros',
  });
}

function setKernels(layers: readonly Layer[]): void {
  tf.tidy(() => layers.forEach((layer, i) => layer.setWeights([tf.tensor2d(kernelOf(i), [WIDTH, WIDTH])])));
}

function chain(): tf.Sequential {
  const layers = TARGETS.map((_, i) => denseOf(i));
  const model = tf.sequential();
  model.add(tf.layers.inputLayer({inputShape: [WIDTH]}));
  for (const layer of layers) model.add(layer);
  setKernels(layers);
  return model;
}

/** Batches of normal values, each on a scale of its own. */
function batchesOf(scales: readonly number[]): Rows[] {
  return scales.map((scale, i) => normals(ROWS * WIDTH, i + 1, scale));
}

const tensorsOf = (batches: readonly Rows[]) => batches.map((rows) => tf.tensor2d(rows, [ROWS, WIDTH]));

/** tanh(masked(x) * kernel). */
function output(x: Rows, layer: number, threshold: number): Rows {
  const kernel = kernelOf(layer);
  return Float32Array.from({length: x.length}, (_, at) => {
    const [row, column] = [Math.floor(at / WIDTH), at % WIDTH];
    let sum = 0;
    for (let k = 0; k < WIDTH; k++) {
      const value = x[row * WIDTH + k];
      if (Math.abs(value) > threshold) sum += value * kernel[k * WIDTH + column];
    }
    return Math.tanh(sum);
  });
}

const joined = (parts: readonly Rows[]) => Float32Array.from(parts.flatMap((part) => [...part]));

/** Thresholds of the chain by the method `pooled`. */
function pooledThresholds(batches: readonly Rows[]): number[] {
  const read: Rows[][] = TARGETS.map(() => []);
  const thresholds = TARGETS.map(() => -Infinity);
  const renewedAt = TARGETS.map(() => 0);
  const renew = (i: number, growth: number) => {
    if (read[i].length <= renewedAt[i] * (1 + growth)) return;
    renewedAt[i] = read[i].length;
    thresholds[i] = quantileAbs(joined(read[i]), TARGETS[i]);
  };
  batches.forEach((batch, index) => {
    let x = batch;
    TARGETS.forEach((_, i) => {
      read[i].push(x);
      if (index === 0) renew(i, 0);
      x = output(x, i, thresholds[i]);
    });
    TARGETS.forEach((_, i) => renew(i, 0.2));
  });
  TARGETS.forEach((_, i) => renew(i, 0));
  return thresholds;
}

/** Thresholds of the chain where each batch runs live and each layer follows all that it has read. */
function liveThresholds(batches: readonly Rows[]): number[] {
  const read: Rows[][] = TARGETS.map(() => []);
  const thresholds = TARGETS.map(() => -Infinity);
  for (const batch of batches) {
    let x = batch;
    TARGETS.forEach((target, i) => {
      read[i].push(x);
      thresholds[i] = quantileAbs(joined(read[i]), target);
      x = output(x, i, thresholds[i]);
    });
  }
  return thresholds;
}

/** Thresholds of the chain by the method `sequential`. */
function sequentialThresholds(batches: readonly Rows[]): number[] {
  let all = [...batches];
  return TARGETS.map((target, i) => {
    const threshold = quantileAbs(joined(all), target);
    all = all.map((x) => output(x, i, threshold));
    return threshold;
  });
}

function expectThresholds(model: tf.LayersModel, expected: readonly number[]): void {
  const thresholds = inspect(model).map(({threshold}) => threshold!);
  expect(thresholds).to.have.length(expected.length);
  thresholds.forEach((threshold, i) =>
    expect(threshold, `layer ${i}`).to.be.closeTo(expected[i], TOLERANCE * expected[i]),
  );
}

/** Calls a Dense only where it is told to; the graph does not show it. */
class MayCall extends tf.layers.Layer {
  static readonly className = 'SpecMayCall';
  calls: 'all' | 'none' | 'no rows' = 'all';
  readonly inner = denseOf(0, 'inner');
  override build(shape: tf.Shape): void {
    this.inner.build(shape);
    setKernels([this.inner]);
    super.build(shape);
  }
  override call(inputs: tf.Tensor | tf.Tensor[], kwargs: Parameters<Layer['call']>[1]): tf.Tensor {
    const x = onlyTensor(inputs);
    if (this.calls === 'all') return this.inner.call(x, kwargs) as tf.Tensor;
    if (this.calls === 'no rows') this.inner.call(tf.slice(x, 0, 0), kwargs);
    return tf.clone(x);
  }
  override computeOutputShape(shape: tf.Shape): tf.Shape {
    return shape;
  }
}

onEveryBackend(() => {
  describe("calibration 'pooled'", () => {
    for (const [what, scales] of [
      ['the first batch runs live, the last thresholds are of all batches', [1, 1, 1, 1, 1, 1, 1, 8]],
      ['thresholds follow the statistics from a growth of a fifth on', [1, 4, 0.1, 4, 0.1, 6, 1]],
      ['one batch', [1]],
      ['two batches', [1, 5]],
    ] as const) {
      it(`gives the thresholds of plain loops: ${what}`, async () => {
        const model = chain();
        const rows = batchesOf(scales);
        const batches = tensorsOf(rows);
        const sparse = await sparsifyActivations(model, batches, {
          ...{targetSparsityByScope: BY_LAYER, onWarning: () => undefined},
        });
        expectThresholds(sparse, pooledThresholds(rows));
        disposeModels(sparse, model);
        tf.dispose(batches);
      });
    }

    it('counts what layers read under the thresholds that the batch met', async () => {
      const model = chain();
      const rows = batchesOf([1, 3, 2]);
      const batches = tensorsOf(rows);
      const sparse = await sparsifyActivations(model, batches, {targetSparsityByScope: BY_LAYER});
      const {layers} = statisticsOf(sparse);
      for (const {count} of layers.values()) expect(count).to.equal(3 * ROWS * WIDTH);
      disposeModels(sparse, model);
      tf.dispose(batches);
    });
  });

  describe("calibration 'sequential'", () => {
    it('gives the thresholds of plain loops', async () => {
      const model = chain();
      const rows = batchesOf([1, 4, 0.5]);
      const batches = tensorsOf(rows);
      const sparse = await sparsifyActivations(model, batches, {
        ...{targetSparsityByScope: BY_LAYER, calibration: 'sequential'},
      });
      expectThresholds(sparse, sequentialThresholds(rows));
      disposeModels(sparse, model);
      tf.dispose(batches);
    });

    it('runs the layers of a nested model live, each on all that it has read', async () => {
      const inner = chain();
      const x = tf.input({shape: [WIDTH]});
      const model = tf.model({inputs: x, outputs: inner.apply(x) as tf.SymbolicTensor});
      const rows = batchesOf([1, 4, 0.5, 2]);
      const batches = tensorsOf(rows);
      const sparse = await sparsifyActivations(model, batches, {
        ...{targetSparsityByScope: {'.*d0': 0.4, '.*d1': 0.6, '.*d2': 0.5}, calibration: 'sequential'},
        onWarning: () => undefined,
      });
      expectThresholds(sparse, liveThresholds(rows));
      disposeModels(sparse, model);
      tf.dispose(batches);
    });

    it('pools the calls of a layer that is called twice, the second under the threshold of the first', async () => {
      const layer = denseOf(0);
      const x = tf.input({shape: [WIDTH]});
      const once = layer.apply(x) as tf.SymbolicTensor;
      const model = tf.model({inputs: x, outputs: layer.apply(once) as tf.SymbolicTensor});
      setKernels([layer]);
      const rows = batchesOf([1, 2]);
      const batches = tensorsOf(rows);
      const sparse = await sparsifyActivations(model, batches, {
        ...{targetSparsityByScope: {d0: 0.5}, calibration: 'sequential'},
      });
      const first = quantileAbs(joined(rows), 0.5);
      const second = rows.map((batch) => output(batch, 0, first));
      expectThresholds(sparse, [quantileAbs(joined([...rows, ...second]), 0.5)]);
      expect(statisticsOf(sparse).layers.get('d0')!.count).to.equal(4 * ROWS * WIDTH);
      disposeModels(sparse, model);
      tf.dispose(batches);
    });

    it('reports its steps, and frees what flows between them', async () => {
      const model = chain();
      const batches = tensorsOf(batchesOf([1, 2]));
      const seen: unknown[] = [];
      const sparse = await sparsifyActivations(model, batches, {
        ...{targetSparsityByScope: BY_LAYER, calibration: 'sequential'},
        onProgress: (progress) => void seen.push(progress),
      });
      expect(seen).to.deep.equal([1, 2, 3].map((done) => ({done, total: 3})));
      disposeModels(sparse, model);
      tf.dispose(batches);
    });
  });

  describe('every method', () => {
    for (const method of ['pooled', 'nncf', 'sequential'] as const) {
      it(`gives layers that share an input each its own target's quantile: ${method}`, async () => {
        const x = tf.input({shape: [WIDTH]});
        const layers = [0, 1, 2].map((i) => denseOf(i));
        const outputs = layers.map((layer) => layer.apply(x) as tf.SymbolicTensor);
        const model = tf.model({inputs: x, outputs});
        const [rows] = batchesOf([1]);
        const batches = tensorsOf([rows]);
        const sparse = await sparsifyActivations(model, batches, {
          ...{targetSparsityByScope: {d0: 0.2, d1: 0.8, d2: 0.2}, calibration: method},
        });
        expectThresholds(
          sparse,
          [0.2, 0.8, 0.2].map((target) => quantileAbs(rows, target)),
        );
        const {layers: histograms} = statisticsOf(sparse);
        for (const {count} of histograms.values()) expect(count).to.equal(ROWS * WIDTH); // once, not three times
        disposeModels(sparse, model);
        tf.dispose(batches);
      });

      it(`begins anew when it calibrates again: ${method}`, async () => {
        const batches = tensorsOf(batchesOf([1, 2]));
        const others = tensorsOf(batchesOf([20, 10]));
        const options = {targetSparsityByScope: BY_LAYER, calibration: method, onWarning: () => undefined};
        const model = chain();
        await sparsifyActivations(model, others, {...options, inPlace: true});
        await sparsifyActivations(model, batches, {...options, inPlace: true});
        const fresh = await sparsifyActivations(chain(), batches, {...options, inPlace: true});
        expect(inspect(model)).to.deep.equal(inspect(fresh));
        disposeModels(model, fresh);
        tf.dispose([batches, others]);
      });
    }
  });
});

describe('a layer that no data reached', () => {
  withoutLeaks(() => {
    for (const method of ['pooled', 'nncf', 'sequential'] as const satisfies CalibrationMethod[]) {
      it(`masks nothing, whatever its threshold was, and is warned of: ${method}`, async () => {
        const gate = new MayCall({name: 'gate'});
        const x = tf.input({shape: [WIDTH]});
        const last = denseOf(1, 'last');
        const model = tf.model({inputs: x, outputs: last.apply(gate.apply(x)) as tf.SymbolicTensor});
        setKernels([last]);
        const batches = tensorsOf(batchesOf([1]));
        const warnings: SparsifyWarning[] = [];
        const options = {
          ...{targetSparsityByScope: {'.*': 0.5}, calibration: method, inPlace: true},
          onWarning: (warning: SparsifyWarning) => void warnings.push(warning),
        };
        await sparsifyActivations(model, batches, options);
        const thresholdOf = (path: RegExp) => inspect(model).find((layer) => path.test(layer.path))!;
        expect(thresholdOf(/inner/).threshold).to.be.above(0);
        expect(warnings).to.deep.equal([]);
        for (const calls of ['none', 'no rows'] as const) {
          gate.calls = calls;
          warnings.splice(0);
          await sparsifyActivations(model, batches, options);
          expect(thresholdOf(/inner/)).to.include({threshold: -Infinity, reached: null, target: 0.5});
        }
        expect(thresholdOf(/last/).threshold).to.be.above(0);
        expect(warnings.map(({code}) => code)).to.deep.equal(['no-inputs']);
        expect(warnings[0].message).to.match(
          /^no data reached "gate\/.*inner", so that nothing is masked there/,
        );
        disposeModels(model);
        tf.dispose(batches);
      });
    }
  });
});
