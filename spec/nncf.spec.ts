/** @file `calibration: 'nncf'` against what NNCF itself computed, on every backend. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {Dataset} from '../lib/dataset.js';
import {measureSparsity} from '../lib/eval/measure-sparsity.js';
import {maskActivations} from '../lib/kernels/mask.js';
import {inspect} from '../lib/model/inspect.js';
import {TargetScope} from '../lib/scope/target-scope.js';
import {sparsifyActivations} from '../lib/sparsify.js';
import {onEveryBackend} from './support/backends.js';
import {MLP3, mlp3, pathOf, readVectors, scopesOf} from './support/mlp3.js';

const rtol = (expected: number) => 1e-5 * Math.abs(expected) + 1e-6;

function expectClose(actual: ArrayLike<number>, expected: number[]): void {
  expect(actual.length).to.equal(expected.length);
  expected.forEach((value, i) => expect(actual[i], `value ${i}`).to.be.closeTo(value, rtol(value)));
}

describe("calibration 'nncf'", () => {
  onEveryBackend(() => {
    let model: tf.LayersModel;
    beforeEach(() => {
      model = mlp3();
    });
    afterEach(() => model.dispose());

    it('starts from the same dense model', () => {
      const output = tf.tidy(() => (model.predict(tf.tensor2d(MLP3.test_input)) as tf.Tensor).dataSync());
      expectClose(output, MLP3.dense_test_output.flat());
    });

    for (const run of MLP3.runs) {
      it(`gives NNCF's thresholds, masks, sparsity and outputs: ${run.name}`, async () => {
        const batches = run.batch_order.map((i) => MLP3.calibration_batches[i]);
        const sparse = await sparsifyActivations(model, new Dataset(batches), {
          ...scopesOf(run),
          calibration: 'nncf',
          onWarning: () => undefined, // few values: a running average is far from their quantile
        });
        const thresholds = new Map(inspect(sparse).map(({path, threshold}) => [path, threshold]));
        const expected = new Map(Object.entries(run.layers).map(([node, layer]) => [pathOf(node), layer]));
        for (const path of ['fc1', 'fc2', 'fc3']) {
          const layer = expected.get(path);
          if (layer === undefined) expect(thresholds.get(path)).to.equal(null);
          else expect(thresholds.get(path)!).to.be.closeTo(layer.threshold, rtol(layer.threshold));
        }
        const output = tf.tidy(() => (sparse.predict(tf.tensor2d(MLP3.test_input)) as tf.Tensor).dataSync());
        expectClose(output, run.test.output.flat());
        for (const {path, actual} of await measureSparsity(sparse, [MLP3.test_input])) {
          const layer = run.test.layers[`${path}/linear/0`];
          expect(actual, path).to.be.closeTo(layer.input_zero_fraction_after_mask, 1e-9);
        }
        expectMasks(sparse, run.test.layers);
        sparse.dispose();
      });
    }

    it('recalibrates layers that are sparsified already, and replaces a second target', async () => {
      const {steps, final} = readRepeatedCalls();
      const calls = [
        {path: 'fc2', target: 0.5, count: 4},
        {path: 'fc1', target: 0.5, count: 2},
      ];
      for (const [i, {path, target, count}] of calls.entries()) {
        await sparsifyActivations(model, new Dataset(MLP3.calibration_batches.slice(0, count)), {
          targetSparsityByScope: [[new TargetScope({names: [path]}), target]],
          calibration: 'nncf',
          onWarning: () => undefined, // few values: a running average is far from their quantile
          inPlace: true,
        });
        const state = steps[i].state;
        for (const {path, threshold, target} of inspect(model)) {
          const reference = state[`${path}/linear/0#0`];
          if (reference === undefined) expect(threshold).to.equal(null);
          else {
            expect(threshold!).to.be.closeTo(reference[0], rtol(reference[0]));
            expect(target).to.equal(reference[2]);
          }
        }
      }
      // NNCF stacks a second mask behind the first; one layer has one mask here, with the last target.
      await sparsifyActivations(model, new Dataset(MLP3.calibration_batches.slice(0, 2)), {
        targetSparsityByScope: {fc2: 0.9},
        calibration: 'nncf',
        onWarning: () => undefined, // few values: a running average is far from their quantile
        inPlace: true,
      });
      expect(inspect(model).map(({target}) => target)).to.deep.equal([0.5, 0.9, null]);
      expect(final).to.have.length(6);
    });
  });
});

interface RepeatedCalls {
  facts: {
    repeated_calls: {
      steps: {
        call?: string;
        state: Record<string, [number, number, number]>;
        final_output_on_test?: number[][];
      }[];
    };
  };
}

function readRepeatedCalls() {
  const {steps} = readVectors<RepeatedCalls>('api_edges.json').facts.repeated_calls;
  return {steps, final: steps.at(-1)!.final_output_on_test!};
}

/** Which inputs a layer masks on the test batch is exactly what NNCF masked. */
function expectMasks(sparse: tf.LayersModel, reference: Record<string, {masked_input: number[][]}>): void {
  for (const [node, {masked_input}] of Object.entries(reference)) {
    const layer = sparse.getLayer(pathOf(node));
    const masked = tf.tidy(() => {
      const inputs = tf.model({inputs: sparse.inputs, outputs: layer.input});
      const x = inputs.predict(tf.tensor2d(MLP3.test_input)) as tf.Tensor;
      const threshold = layer.weights.find(({name}) => name.includes('threshold'))!.read();
      return maskActivations(x, threshold).dataSync();
    });
    expectClose(masked, masked_input.flat());
    masked_input.flat().forEach((value, i) => expect(masked[i] === 0).to.equal(value === 0));
  }
}
