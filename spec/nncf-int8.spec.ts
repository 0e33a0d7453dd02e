/** @file `compressWeights` against what NNCF's `compress_weights` computed, on every backend. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {compressWeights, inspectWeights} from '../lib/compress.js';
import {Dataset} from '../lib/dataset.js';
import {measureSparsity} from '../lib/eval/measure-sparsity.js';
import {asInt8} from '../lib/layers/int8-weight.js';
import {inspect} from '../lib/model/inspect.js';
import {STORED_OFFSET, dequantizeInt8, type Int8Mode} from '../lib/quantization/int8.js';
import {sparsifyActivations} from '../lib/sparsify.js';
import type {DenseLayer} from '../lib/tfjs.js';
import {onEveryBackend} from './support/backends.js';
import {MLP3, mlp3, pathOf, readVectors, scopesOf, type ReferenceRun} from './support/mlp3.js';

interface CompressedWeight {
  q: number[][];
  scale_f16: number[][];
  zero_point?: number[][];
  dequantized: number[][];
}

interface Mode {
  compressed_weights: Record<string, CompressedWeight>;
  int8_only_test_output: number[][];
  test_output: number[][];
  int8_then_sparsify: ReferenceRun[];
  sparsify_then_int8: {thresholds: Record<string, number>; test_output: number[][]}[];
}

interface Vectors {
  weights: Record<string, number[][]>;
  test_input: number[][];
  modes: Record<'INT8_ASYM' | 'INT8_SYM', Mode>;
}

const MLP = readVectors<Vectors>('mlp3_int8.json');
const EDGES = readVectors<Vectors>('int8_edge_rows.json');

const MODES = [
  ['INT8_ASYM', 'int8_asym'],
  ['INT8_SYM', 'int8_sym'],
] as const satisfies readonly (readonly [string, Int8Mode])[];

const rtol = (expected: number) => 1e-5 * Math.abs(expected) + 1e-6;

function expectClose(actual: ArrayLike<number>, expected: number[][], tolerance = rtol): void {
  expect(actual.length).to.equal(expected.flat().length);
  expected
    .flat()
    .forEach((value, i) => expect(actual[i], `value ${i}`).to.be.closeTo(value, tolerance(value)));
}

/** [out, in], as NNCF has its weights. */
function transposed(values: ArrayLike<number>, rows: number, columns: number, stride = columns): number[][] {
  return Array.from({length: columns}, (_, n) =>
    Array.from({length: rows}, (_, k) => values[k * stride + n]),
  );
}

/** Integers, scales, zero points and weights of a layer, exactly. */
async function expectWeights(layer: tf.layers.Layer, expected: CompressedWeight, mode: Int8Mode) {
  const weight = asInt8((layer as DenseLayer).kernel)!;
  const data = await weight.data();
  const {rows, columns, values, stride} = data;
  const offset = mode === 'int8_asym' ? STORED_OFFSET : 0;
  const q = transposed(values, rows, columns, stride).map((row) => row.map((value) => value + offset));
  expect(q).to.deep.equal(expected.q);
  expect([...data.scale]).to.deep.equal(expected.scale_f16.flat().map(Math.fround));
  const zeroPoints = expected.zero_point?.flat() ?? Array<number>(columns).fill(0);
  expect([...data.zeroPoint].map((point) => point + offset)).to.deep.equal(zeroPoints);
  const exact = expected.dequantized.map((row) => row.map(Math.fround));
  expect(transposed(dequantizeInt8(data), rows, columns)).to.deep.equal(exact);
  const read = tf.tidy(() => weight.read().dataSync());
  const positive = (rows: number[][]) => rows.map((row) => row.map((value) => value + 0)); // -0 is 0
  expect(positive(transposed(read, rows, columns))).to.deep.equal(positive(exact));
}

function predict(model: tf.LayersModel, x: number[][]): Float32Array {
  return tf.tidy(() => (model.predict(tf.tensor2d(x)) as tf.Tensor).dataSync() as Float32Array);
}

describe('compressWeights, as NNCF', () => {
  onEveryBackend(() => {
    for (const [name, mode] of MODES) {
      const reference = MLP.modes[name];

      describe(mode, () => {
        let model: tf.LayersModel;
        beforeEach(() => {
          model = mlp3();
        });
        afterEach(() => model.dispose());

        it('gives its integers, scales, zero points, weights and outputs', async () => {
          const compressed = await compressWeights(model, {mode});
          for (const [weight, expected] of Object.entries(reference.compressed_weights)) {
            await expectWeights(compressed.getLayer(weight.split('.')[0]), expected, mode);
          }
          expectClose(predict(compressed, MLP.test_input), reference.int8_only_test_output);
          compressed.dispose();
        });

        it('gives its weights and outputs on edge cases', async () => {
          const edges = tf.sequential({
            layers: [tf.layers.dense({units: 15, useBias: false, inputShape: [6], name: 'fc'})],
          });
          tf.tidy(() => edges.setWeights([tf.transpose(tf.tensor2d(EDGES.weights['fc.weight']))]));
          await compressWeights(edges, {mode, inPlace: true});
          await expectWeights(edges.getLayer('fc'), EDGES.modes[name].compressed_weights['fc.weight'], mode);
          // Terms of up to 500 cancel: 1e-5 of about 100.
          expectClose(predict(edges, EDGES.test_input), EDGES.modes[name].test_output, () => 1e-3);
          edges.dispose();
        });

        it('gives the thresholds, outputs and sparsity of compressing, then sparsifying', async () => {
          for (const run of reference.int8_then_sparsify) {
            const compressed = await compressWeights(model, {mode});
            const sparse = await sparsifyActivations(compressed, new Dataset(MLP3.calibration_batches), {
              ...scopesOf(run),
              calibration: 'nncf',
            });
            for (const {path, threshold} of inspect(sparse)) {
              const expected = run.layers[`${path}/linear/0`].threshold;
              expect(threshold!).to.be.closeTo(expected, rtol(expected));
            }
            expectClose(predict(sparse, MLP.test_input), run.test.output);
            for (const {path, actual} of await measureSparsity(sparse, [MLP.test_input])) {
              const layer = run.test.layers[`${path}/linear/0`];
              expect(actual).to.be.closeTo(layer.input_zero_fraction_after_mask, 1e-9);
            }
            // The compressed model is as it was.
            expectClose(predict(compressed, MLP.test_input), reference.int8_only_test_output);
            sparse.dispose();
            compressed.dispose();
          }
        });

        it('gives the thresholds and outputs of sparsifying, then compressing', async () => {
          for (const run of reference.sparsify_then_int8) {
            const sparse = await sparsifyActivations(model, new Dataset(MLP3.calibration_batches), {
              targetSparsityByScope: {'.*': 0.5},
              calibration: 'nncf',
            });
            const compressed = await compressWeights(sparse, {mode});
            expect(inspectWeights(sparse).map(({format}) => format)).to.deep.equal(Array(3).fill('float32'));
            const thresholds = new Map(inspect(compressed).map(({path, threshold}) => [path, threshold!]));
            for (const [node, expected] of Object.entries(run.thresholds)) {
              expect(thresholds.get(pathOf(node))!).to.be.closeTo(expected, rtol(expected));
            }
            expectClose(predict(compressed, MLP.test_input), run.test_output);
            compressed.dispose();
            sparse.dispose();
          }
        });
      });
    }
  });
});
