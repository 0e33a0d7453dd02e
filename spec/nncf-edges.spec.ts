/** @file NNCF's recorded edge cases: data sets of every kind, odd values, what a call changes and what it keeps. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {Dataset} from '../lib/dataset.js';
import {inspect} from '../lib/model/inspect.js';
import {TargetScope} from '../lib/scope/target-scope.js';
import {sparsifyActivations, type SparsifyOptions} from '../lib/sparsify.js';
import {withoutLeaks} from './support/backends.js';
import {MLP3, mlp3, pathOf, readVectors} from './support/mlp3.js';

interface DatasetFile {
  cases: {name: string; result?: unknown; error?: {kind: string}}[];
  mlp_batches: number[][][];
}

interface EdgesFile {
  errors: {name: string; result?: Record<string, [number, number, number]>; error?: {kind: string}}[];
  facts: Record<string, unknown>;
}

const DATASET = readVectors<DatasetFile>('dataset.json');
const EDGES = readVectors<EdgesFile>('api_edges.json');

const rtol = (expected: number) => 1e-5 * Math.abs(expected) + 1e-6;

/** What NNCF got for a data set case: the threshold of fc1 at 0.5. */
function thresholdOf(name: string): number {
  return (DATASET.cases.find((c) => c.name === name)!.result as {threshold: number}).threshold;
}

describe("NNCF's edge cases", () =>
  withoutLeaks(() => {
    let model: tf.LayersModel;
    before(() => tf.setBackend('cpu'));
    beforeEach(() => {
      model = mlp3();
    });
    afterEach(() => model.dispose());

    const sparsify = async (
      data: ConstructorParameters<typeof Dataset>[0],
      options: Partial<SparsifyOptions> = {},
      transform?: (item: unknown) => unknown,
    ) => {
      const sparse = await sparsifyActivations(model, new Dataset(data, transform), {
        targetSparsityByScope: {fc1: 0.5},
        calibration: 'nncf',
        onWarning: () => undefined, // few values: a running average is far from their quantile
        ...options,
      });
      const report = inspect(sparse);
      if (sparse !== model) sparse.dispose();
      return report;
    };

    const fc1 = async (...args: Parameters<typeof sparsify>) => (await sparsify(...args))[0].threshold!;
    const batches = DATASET.mlp_batches;

    /** The batches as tensors while `work` runs. */
    const withTensors = async <T>(work: (tensors: tf.Tensor[]) => Promise<T>): Promise<T> => {
      const tensors = batches.map((batch) => tf.tensor2d(batch));
      try {
        return await work(tensors);
      } finally {
        tf.dispose(tensors);
      }
    };

    describe('data sets', () => {
      it('sparsify_list', async () => {
        const expected = thresholdOf('sparsify_list');
        expect(await fc1(batches)).to.be.closeTo(expected, rtol(expected));
      });

      it('sparsify_tuple_items_are_positional_args: an array of tensors', () =>
        withTensors(async (tensors) => {
          const expected = thresholdOf('sparsify_tuple_items_are_positional_args');
          expect(await fc1(tensors.map((tensor) => [tensor]))).to.be.closeTo(expected, rtol(expected));
        }));

      it('sparsify_dict_items_are_keyword_args: an object by input name', () =>
        withTensors(async (tensors) => {
          const [name] = model.inputNames.length > 0 ? model.inputNames : ['fc1_input'];
          const expected = thresholdOf('sparsify_dict_items_are_keyword_args');
          expect(await fc1(tensors.map((tensor) => ({[name]: tensor})))).to.be.closeTo(
            expected,
            rtol(expected),
          );
        }));

      it('sparsify_list_items_passed_as_single_arg: several tensors for one input are refused', () =>
        withTensors(async ([a, b]) => {
          const error = await sparsify([[a, b]]).catch((e: unknown) => e);
          expect(error).to.have.property('code', 'wrong-inputs');
        }));

      it('sparsify_label_pairs_with_transform', async () => {
        const expected = thresholdOf('sparsify_label_pairs_with_transform');
        const pairs = batches.map((batch, label) => ({batch, label}));
        const take = (item: unknown) => (item as {batch: number[][]}).batch;
        expect(await fc1(pairs, {}, take)).to.be.closeTo(expected, rtol(expected));
      });

      it('sparsify_one_shot_generator_loses_first_item: here it loses nothing', async () => {
        function* once() {
          yield* batches;
        }
        const all = thresholdOf('sparsify_list');
        expect(await fc1(once())).to.be.closeTo(all, rtol(all));
      });

      it('sparsify_one_shot_generator_of_one: here it calibrates', async () => {
        function* once() {
          yield batches[0];
        }
        expect(await fc1(once())).to.be.closeTo(0.6775, rtol(0.6775));
      });

      it('sparsify_empty', async () => {
        expect(await sparsify([]).catch((e: unknown) => e)).to.have.property('code', 'empty');
      });

      it('transform_calls_for_4_items: one call an item, none for tracing', async () => {
        let calls = 0;
        await sparsify(batches, {}, (item) => {
          calls++;
          return item;
        });
        expect(calls).to.equal(4);
      });
    });

    describe('values', () => {
      for (const [name, target] of [
        ['target_sparsity int 0', 0],
        ['target_sparsity int 1', 1],
      ] as const) {
        it(name, async () => {
          const {result} = EDGES.errors.find((c) => c.name === name)!;
          const [[, [threshold]]] = Object.entries(result!);
          const report = await sparsify(MLP3.calibration_batches, {targetSparsityByScope: {fc2: target}});
          expect(report[1].threshold!).to.be.closeTo(threshold, rtol(threshold));
        });
      }

      it('ignored_scope is a TargetScope', async () => {
        const {result} = EDGES.errors.find((c) => c.name === 'ignored_scope is a TargetScope')!;
        const report = await sparsify(MLP3.calibration_batches, {
          targetSparsityByScope: {'.*': 0.5},
          ignoredScope: new TargetScope({names: ['fc2']}),
        });
        const expected = new Map(
          Object.entries(result!).map(([node, [t]]) => [pathOf(node.split('#')[0]), t]),
        );
        for (const {path, threshold} of report) {
          const reference = expected.get(path);
          if (reference === undefined) expect(threshold).to.equal(null);
          else expect(threshold!).to.be.closeTo(reference, rtol(reference));
        }
      });

      for (const [name, target] of [
        ['target_sparsity -0.1', -0.1],
        ['target_sparsity 1.1', 1.1],
        ['target_sparsity 1+1e-12', 1 + 1e-12],
        ['target_sparsity NaN', NaN],
        ["target_sparsity str '0.5'", '0.5'],
        ['target_sparsity None', null],
      ] as const) {
        it(`${name} is refused`, async () => {
          expect(EDGES.errors.find((c) => c.name === name)).to.have.property('error');
          const options = {targetSparsityByScope: {fc2: target as number}};
          const error = await sparsify(MLP3.calibration_batches, options).catch((e: unknown) => e);
          expect(error).to.have.property('code', 'target-out-of-range');
        });
      }

      it('dataset None and a model that is a function are refused', async () => {
        const none = null as unknown as number[][];
        const options = {targetSparsityByScope: {fc1: 0.5}};
        const noData = await sparsifyActivations(model, none, options).catch((e: unknown) => e);
        expect(noData).to.have.property('code', 'unsupported-source');
        const notAModel = (() => 0) as unknown as tf.LayersModel;
        const noModel = await sparsifyActivations(notAModel, batches, options).catch((e: unknown) => e);
        expect(noModel).to.have.property('code', 'not-a-layers-model');
      });
    });

    it('facts: in place the same object comes back, with its other weights and flags unchanged', async () => {
      expect(EDGES.facts).to.include({
        returns_same_object: true,
        weights_unchanged: true,
        requires_grad_kept: true,
      });
      const weights = model.getWeights().map((weight) => [...weight.dataSync()]);
      const trainable = model.trainableWeights.map(({name}) => name);
      const options = {targetSparsityByScope: {fc2: 0.5}, inPlace: true};
      expect(await sparsifyActivations(model, MLP3.calibration_batches, options)).to.equal(model);
      expect(model.trainableWeights.map(({name}) => name)).to.deep.equal(trainable);
      const kept = model.trainableWeights.map((weight) => [...weight.read().dataSync()]);
      expect(kept).to.deep.equal(weights);
      expect(model.nonTrainableWeights.map(({originalName}) => originalName)).to.deep.equal([
        'fc2/threshold',
      ]);
    });
  }));
