/** @file Rounding to INT4 by what layers read: the factor of the inputs' moments, GPTQ by it, and `compressWeights` with it. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {compressWeights, inspectWeights} from '../../lib/compress.js';
import {quantizeByFactor} from '../../lib/compression/gptq.js';
import {InputMoments, type InputFactor} from '../../lib/compression/input-moments.js';
import {Dataset} from '../../lib/dataset.js';
import {asInt4} from '../../lib/layers/int4-weight.js';
import {compressibleWeights} from '../../lib/model/compressible.js';
import {dequantizeInt4, quantizeInt4, type Int4Mode, type Int4Shape} from '../../lib/quantization/int4.js';
import {sparsifyActivations} from '../../lib/sparsify.js';
import {disposeModels, onEveryBackend} from '../support/backends.js';
import {normals} from '../support/normals.js';
import {rejection} from '../support/rejection.js';

const MODES: readonly Int4Mode[] = ['int4_asym', 'int4_sym'];

/** Rows [rows, columns] of which neighbours are alike. */
function correlated(rows: number, columns: number, seed: number): Float32Array {
  const own = normals(rows * columns, seed, 1);
  const shared = normals(rows, seed + 1, 1);
  return Float32Array.from(own, (value, i) => 0.4 * value + shared[Math.floor(i / columns)]);
}

/** The factor of inputs that do not vary together. */
function independent(importance: readonly number[]): InputFactor {
  return {
    importance: Float64Array.from(importance),
    feedback: new Float32Array(importance.length ** 2),
  };
}

/** The sum of the squared errors in the outputs of a kernel [K, N] for inputs [rows, K]. */
function outputError(
  x: Float32Array,
  weights: Float32Array,
  rounded: Float32Array,
  {rows, columns}: Int4Shape,
): number {
  let sum = 0;
  for (let row = 0; row < x.length / rows; row++) {
    for (let n = 0; n < columns; n++) {
      let error = 0;
      for (let k = 0; k < rows; k++) {
        error += x[row * rows + k] * (weights[k * columns + n] - rounded[k * columns + n]);
      }
      sum += error * error;
    }
  }
  return sum;
}

describe('rounding to INT4 with data', () => {
  onEveryBackend(() => {
    describe('InputMoments', () => {
      for (const size of [1, 5, 64, 65, 150]) {
        it(`factors the moments of ${size} inputs, products of two lessened by 30 %`, async () => {
          const rows = 40;
          const x = correlated(rows, size, 7);
          const moments = new InputMoments();
          const halves = [x.slice(0, 10 * size), x.slice(10 * size)];
          for (const half of halves) {
            const tensor = tf.tensor(half, [1, half.length / size, size]);
            moments.add(tensor);
            tensor.dispose();
          }
          const {importance, feedback} = await moments.factor('layer');
          moments.dispose();
          const raw = (a: number, b: number) => {
            let sum = 0;
            for (let row = 0; row < rows; row++) sum += x[row * size + a] * x[row * size + b];
            return sum;
          };
          let trace = 0;
          for (let k = 0; k < size; k++) trace += raw(k, k);
          const upper = (row: number, k: number) => (row === k ? 1 : feedback[row * size + k]);
          for (let a = 0; a < size; a += 7) {
            for (let b = a; b < size; b += 5) {
              let got = 0;
              for (let k = b; k < size; k++) got += upper(a, k) * importance[k] * upper(b, k);
              const wanted = a === b ? raw(a, a) + (0.01 * trace) / size : 0.7 * raw(a, b);
              expect(got).to.be.closeTo(wanted, 1e-4 * (trace / size) * 2);
            }
          }
          for (let a = 0; a < size; a++)
            for (let b = 0; b <= a; b++) expect(feedback[a * size + b]).to.equal(0);
        });
      }

      it('takes inputs that are always 0 as equally important', async () => {
        const moments = new InputMoments();
        const zeros = tf.zeros([3, 2]);
        moments.add(zeros);
        zeros.dispose();
        const factor = await moments.factor('layer');
        moments.dispose();
        expect([...factor.importance]).to.deep.equal([1, 1]);
        expect([...factor.feedback]).to.deep.equal([0, 0, 0, 0]);
      });

      for (const bad of [NaN, Infinity, 1e30]) {
        it(`refuses ${bad} at an input`, async () => {
          const moments = new InputMoments();
          const x = tf.tensor2d([[1, bad]]);
          moments.add(x);
          x.dispose();
          const error = await rejection(() => moments.factor('a/b'), 'not-finite');
          moments.dispose();
          expect(error.message).to.include('"a/b"');
        });
      }

      it('refuses to tell of nothing', async () => {
        await rejection(() => new InputMoments().factor('a'), 'no-rows');
      });
    });

    describe('quantizeByFactor', () => {
      for (const mode of MODES) {
        it(`${mode}: rounds each weight to the nearest where inputs do not vary together`, async () => {
          const shape = {rows: 32, columns: 19, groupSize: 16};
          const weights = Float32Array.from(normals(32 * 19, 3, 0.1));
          const importance = Array.from({length: 32}, (_, k) => 0.5 + (k % 3));
          const matrix = await quantizeByFactor(weights, shape, mode, independent(importance));
          const rounded = dequantizeInt4(matrix);
          const plain = dequantizeInt4(quantizeInt4(weights, shape, mode));
          let [own, others] = [0, 0];
          for (const [i, weight] of weights.entries()) {
            const share = importance[Math.floor(i / 19)];
            own += share * (weight - rounded[i]) ** 2;
            others += share * (weight - plain[i]) ** 2;
          }
          expect(own).to.be.at.most(others); // NNCF's scales are among those that are tried
          // On the grid that was chosen no weight has a nearer step: two levels of a group and column lie a step apart.
          for (let group = 0; group < 2; group++) {
            for (let n = 0; n < 19; n++) {
              const rows = Array.from({length: 16}, (_, k) => (group * 16 + k) * 19 + n);
              const levels = rows.map((i) => rounded[i]);
              for (const i of rows) {
                const nearest = Math.min(...levels.map((level) => Math.abs(level - weights[i])));
                expect(Math.abs(rounded[i] - weights[i])).to.be.at.most(nearest + 1e-4);
              }
            }
          }
        });

        it(`${mode}: makes less error in the outputs than rounding to the nearest`, async () => {
          const shape = {rows: 96, columns: 21, groupSize: 32};
          const x = correlated(200, 96, 11);
          const weights = Float32Array.from(normals(96 * 21, 5, 0.1));
          const moments = new InputMoments();
          const tensor = tf.tensor2d(x, [200, 96]);
          moments.add(tensor);
          tensor.dispose();
          const matrix = await quantizeByFactor(weights, shape, mode, await moments.factor('layer'));
          moments.dispose();
          const aware = outputError(x, weights, dequantizeInt4(matrix), shape);
          const plain = outputError(x, weights, dequantizeInt4(quantizeInt4(weights, shape, mode)), shape);
          expect(aware).to.be.below(0.5 * plain);
        });
      }

      it('lets the second of two like inputs take up the error of the first', async () => {
        // Steps of 1, zero point 0: 15 sets the scale. The error -0.4 at the third input goes to the fourth with a share of 1.
        const weights = Float32Array.of(0, 15, 3.4, 3.4);
        const factor = independent([1, 1, 1, 1]);
        factor.feedback[2 * 4 + 3] = 1;
        const shape = {rows: 4, columns: 1, groupSize: 4};
        const matrix = await quantizeByFactor(weights, shape, 'int4_asym', factor);
        expect([...dequantizeInt4(matrix)]).to.deep.equal([0, 15, 3, 4]);
        expect([...dequantizeInt4(quantizeInt4(weights, shape, 'int4_asym'))]).to.deep.equal([0, 15, 3, 3]);
      });

      it('takes the error of a group to the next', async () => {
        const weights = Float32Array.of(0, 15, 3.4, 0, 15, 3.4);
        const factor = independent([1, 1, 1, 1, 1, 1]);
        factor.feedback[2 * 6 + 5] = 1;
        const shape = {rows: 6, columns: 1, groupSize: 3};
        const matrix = await quantizeByFactor(weights, shape, 'int4_asym', factor);
        expect([...dequantizeInt4(matrix)]).to.deep.equal([0, 15, 3, 0, 15, 4]);
      });
    });

    describe('compressWeights', () => {
      const model = () => {
        const input = tf.input({shape: [32]});
        const a = tf.layers
          .dense({units: 32, name: 'a', activation: 'relu'})
          .apply(input) as tf.SymbolicTensor;
        const nested = tf.sequential({
          name: 'nested',
          layers: [tf.layers.dense({units: 32, name: 'b', inputShape: [32]})],
        });
        const b = nested.apply(a) as tf.SymbolicTensor;
        const again = nested.apply(b) as tf.SymbolicTensor;
        const made = tf.model({
          inputs: input,
          outputs: tf.layers.dense({units: 3, name: 'c'}).apply(again) as tf.SymbolicTensor,
        });
        tf.tidy(() => {
          for (const [i, weight] of made.weights.entries()) {
            const shape = weight.shape as number[];
            weight.write(
              tf.tensor(
                normals(
                  shape.reduce((p, n) => p * n, 1),
                  50 + i,
                  0.2,
                ),
                shape,
              ),
            );
          }
        });
        return made;
      };
      const x = Array.from({length: 100}, (_, row) =>
        [...correlated(100, 32, 23)].slice(row * 32, row * 32 + 32),
      );
      const data = () => new Dataset([x.slice(0, 50), x.slice(50)]);
      const OPTIONS = {mode: 'int4_asym', groupSize: 16} as const;
      const distance = (one: tf.LayersModel, other: tf.LayersModel) =>
        tf.tidy(() => {
          const [y, z] = [one, other].map((each) => each.predict(tf.tensor2d(x)) as tf.Tensor);
          return tf.sum(tf.squaredDifference(y, z)).dataSync()[0];
        });

      it('comes nearer to the model, also in nested and shared layers, in the same format', async () => {
        const dense = model();
        const plain = await compressWeights(dense, OPTIONS);
        const aware = await compressWeights(dense, {...OPTIONS, dataset: data(), dataAware: true});
        expect(inspectWeights(aware)).to.deep.equal(inspectWeights(plain));
        expect(inspectWeights(aware).map(({format}) => format)).to.deep.equal([
          'int4_asym',
          'int4_asym',
          'int8_asym',
        ]);
        expect(distance(dense, aware)).to.be.below(0.75 * distance(dense, plain));
        disposeModels(dense, plain, aware);
      });

      it('rounds by what is left of a masked input', async () => {
        const dense = model();
        const sparse = await sparsifyActivations(dense, data(), {targetSparsityByScope: {a: 0.5}});
        const of = async (source: tf.LayersModel) => {
          const made = await compressWeights(source, {...OPTIONS, dataset: data(), dataAware: true});
          const [{variable}] = compressibleWeights(made);
          const {values} = await asInt4(variable)!.data();
          disposeModels(made);
          return [...values];
        };
        expect(await of(sparse)).not.to.deep.equal(await of(dense));
        disposeModels(dense, sparse);
      });

      it('tells of every weight, and leaves the model as it was if it is stopped', async () => {
        const dense = model();
        const told: string[] = [];
        const controller = new AbortController();
        const stopped = compressWeights(dense, {
          ...{...OPTIONS, dataset: data(), dataAware: true, inPlace: true, signal: controller.signal},
          onProgress: ({done, total}) => {
            told.push(`${done}/${total}`);
            if (done === 1) controller.abort(new Error('enough'));
          },
        });
        const reason = await stopped.then(
          () => null,
          (error: unknown) => error,
        );
        expect(reason).to.include({message: 'enough'});
        expect(told).to.deep.equal(['1/3']);
        expect(inspectWeights(dense).every(({format}) => format === 'float32')).to.equal(true);
        disposeModels(dense);
      });

      it('refuses data that are empty or not finite, and to round without data or to INT8', async () => {
        const dense = model();
        const refused = (code: string, options: object) =>
          rejection(() => compressWeights(dense, {...OPTIONS, dataAware: true, ...options}), code);
        await refused('empty', {dataset: new Dataset([])});
        await refused('not-finite', {dataset: new Dataset([[[NaN, ...x[0].slice(1)]]])});
        await refused('missing-dataset', {});
        const int8 = await refused('unsupported-option', {
          mode: 'int8_asym',
          groupSize: undefined,
          dataset: data(),
        });
        expect(int8.message).to.include('dataAware');
        disposeModels(dense);
      });
    });
  });
});
