/** @file `compressWeights` to INT4 against what NNCF's `compress_weights` computed and chose. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {compressWeights} from '../lib/compress.js';
import {selectWeights} from '../lib/compression/plan.js';
import {sensitivityScores} from '../lib/compression/sensitivity.js';
import {Dataset} from '../lib/dataset.js';
import {measureSparsity} from '../lib/eval/measure-sparsity.js';
import {compressibleWeights} from '../lib/model/compressible.js';
import {inspect} from '../lib/model/inspect.js';
import {sparsifyActivations} from '../lib/sparsify.js';
import {TiedEmbedding, HEAD_NAME} from '../lib/language/graph/layers/tied-embedding.js';
import {disposeModels, onEveryBackend, withoutLeaks} from './support/backends.js';
import {CODES, hashOf, optionsOf, resultOf, type Int4Arguments, type Int4Run} from './support/int4-runs.js';
import {failure} from './support/io/files.js';
import {pathOf, readVectors, scopesOf, type ReferenceRun} from './support/mlp3.js';

interface MlpRun extends Int4Run {
  test_output?: number[][];
}

interface Mlp {
  weights: Record<string, number[][]> & Record<string, number[]>;
  calibration_batches: number[][][];
  test_input: number[][];
  quantized: Record<string, {dequantized_sha256: string}>;
  runs: MlpRun[];
  int4_then_sparsify: (ReferenceRun & {arguments: Int4Arguments})[];
  sparsify_then_int4: {
    name: string;
    arguments: Int4Arguments;
    thresholds_after_compress: Record<string, number>;
    test_output: number[][];
  }[];
}

interface Selection {
  weights: Record<string, number[][]> & Record<string, number[]>;
  input_ids: number[][];
  dataset: number[][];
  runs: (Int4Run & {tied: boolean; test_output_last_row?: number[]})[];
}

interface Call extends Int4Run {
  name: string;
  weight_shape: [number, number];
}

const MLP = readVectors<Mlp>('int4_mlp3.json');
const SELECTION = readVectors<Selection>('int4_selection.json');
const {calls: CALLS} = readVectors<{calls: Call[]}>('int4_edge_rows.json');

const rtol = (expected: number) => 1e-5 * Math.abs(expected) + 1e-6;

function expectClose(actual: ArrayLike<number>, expected: number[]): void {
  expect(actual.length).to.equal(expected.length);
  expected.forEach((value, i) => expect(actual[i], `value ${i}`).to.be.closeTo(value, rtol(value)));
}

function predict(model: tf.LayersModel, input: number[][]): Float32Array {
  return tf.tidy(() => (model.predict(tf.tensor2d(input)) as tf.Tensor).dataSync() as Float32Array);
}

/** fc3(tanh(fc2(relu(fc1(x))))) with the reference weights. */
function mlp(): tf.LayersModel {
  const sizes = [
    {name: 'fc1', units: 32, activation: 'relu'},
    {name: 'fc2', units: 40, activation: 'tanh'},
    {name: 'fc3', units: 8, activation: 'linear'},
  ] as const;
  const model = tf.sequential({
    layers: sizes.map((size, i) => tf.layers.dense({...size, ...(i === 0 ? {inputShape: [64]} : {})})),
  });
  tf.tidy(() => {
    for (const {name} of sizes) {
      const kernel = tf.transpose(tf.tensor2d(MLP.weights[`${name}.weight`]));
      model.getLayer(name).setWeights([kernel, tf.tensor1d(MLP.weights[`${name}.bias`])]);
    }
  });
  return model;
}

/** The model of the selection vectors; tied, the embedding reads the head's kernel. */
function selectable(isTied: boolean): tf.LayersModel {
  const dense = (name: string, units: number, others: object = {}) =>
    tf.layers.dense({name, units, useBias: false, ...others});
  const ids = tf.input({shape: [null]});
  const embedded = (
    isTied
      ? new TiedEmbedding({name: 'emb', hiddenSize: 32})
      : tf.layers.embedding({name: 'emb', inputDim: 12, outputDim: 32})
  ).apply(ids) as tf.SymbolicTensor;
  const b = dense('b', 32).apply(dense('a', 48, {activation: 'relu'}).apply(embedded)) as tf.SymbolicTensor;
  const h = tf.layers.add().apply([embedded, b]);
  const c = dense('c', 32, {useBias: true, activation: 'tanh'}).apply(h);
  const head = isTied ? HEAD_NAME : 'head';
  const y = dense(head, 12).apply(c) as tf.SymbolicTensor;
  const model = tf.model({inputs: ids, outputs: y});
  const {weights} = SELECTION;
  tf.tidy(() => {
    const kernel = (name: string) => tf.transpose(tf.tensor2d(weights[`${name}.weight`]));
    if (!isTied) model.getLayer('emb').setWeights([tf.tensor2d(weights['emb.weight'])]);
    for (const name of ['a', 'b']) model.getLayer(name).setWeights([kernel(name)]);
    model.getLayer('c').setWeights([kernel('c'), tf.tensor1d(weights['c.bias'])]);
    model.getLayer(head).setWeights([kernel(isTied ? 'emb' : 'head')]);
  });
  return model;
}

const titleOf = ({name, arguments: {ignored_scope: ignored, ...others}}: Int4Run) =>
  name ?? JSON.stringify({...others, ...(ignored && {ignored})}).replaceAll('"', '');

/** Fails unless the scores that a ratio orders by are those of the run. */
async function expectScores(model: tf.LayersModel, run: Int4Run, dataset: Dataset | undefined) {
  if (run.sensitivity_scores === undefined) return;
  const {mode, ignoredScope, sensitivityMetric, ...options} = optionsOf(run.arguments);
  const metric =
    sensitivityMetric ?? (dataset === undefined ? 'weight_quantization_error' : 'max_activation_variance');
  const {candidates} = selectWeights(
    compressibleWeights(model),
    new Set(ignoredScope?.names),
    mode!,
    options,
  );
  const scores = await sensitivityScores(model, candidates, metric, dataset, {});
  const found = candidates.map(({placed}) =>
    placed.path === HEAD_NAME ? 'emb.weight' : `${placed.path}.weight`,
  );
  expect(found).to.deep.equal(Object.keys(run.sensitivity_scores));
  Object.values(run.sensitivity_scores).forEach((score, i) => {
    expect(scores[i], found[i]).to.be.closeTo(score, 1e-4 * score);
  });
}

describe('compressWeights to INT4, as NNCF', () => {
  onEveryBackend(() => {
    for (const run of MLP.runs) {
      it(`gives the choice, weights and outputs of ${run.arguments.mode} ${run.name!}`, async () => {
        const model = mlp();
        const dataset = run.dataset ? new Dataset(MLP.calibration_batches) : undefined;
        const compressing = compressWeights(model, {...optionsOf(run.arguments), ...(dataset && {dataset})});
        if (run.error !== undefined) {
          const error = await failure(compressing);
          expect(error.code).to.equal(CODES[run.error.type]);
          for (const [, node, inputs] of run.error.message.matchAll(
            /"(\S+)\/linear\/0" \(channel size: (\d+)\)/g,
          ))
            expect(error.message).to.include(`"${node}" (${inputs} inputs)`);
          model.dispose();
          return;
        }
        const compressed = await compressing;
        expect(resultOf(compressed, run.arguments.group_size)).to.deep.equal(run.result);
        for (const placed of compressibleWeights(compressed)) {
          const entry = MLP.quantized[`${placed.path}.weight ${run.result![`${placed.path}.weight`]}`];
          if (entry !== undefined) expect(hashOf(placed), placed.path).to.equal(entry.dequantized_sha256);
        }
        if (run.test_output !== undefined) {
          expectClose(predict(compressed, MLP.test_input), run.test_output.flat());
        }
        await expectScores(model, run, dataset);
        disposeModels(compressed, model);
      });
    }

    for (const run of MLP.int4_then_sparsify) {
      it(`gives the thresholds, outputs and sparsity of ${run.arguments.mode}, then sparsifying: ${run.name}`, async () => {
        const model = mlp();
        const compressed = await compressWeights(model, optionsOf(run.arguments));
        const sparse = await sparsifyActivations(compressed, new Dataset(MLP.calibration_batches), {
          ...scopesOf(run),
          calibration: 'nncf',
        });
        for (const {path, threshold} of inspect(sparse)) {
          const expected = run.layers[`${path}/linear/0`].threshold;
          expect(threshold!).to.be.closeTo(expected, rtol(expected));
        }
        expectClose(predict(sparse, MLP.test_input), run.test.output.flat());
        for (const {path, actual} of await measureSparsity(sparse, [MLP.test_input])) {
          const layer = run.test.layers[`${path}/linear/0`];
          expect(actual).to.be.closeTo(layer.input_zero_fraction_after_mask, 1e-9);
        }
        disposeModels(sparse, compressed, model);
      });
    }

    for (const run of MLP.sparsify_then_int4) {
      it(`gives the thresholds and outputs of sparsifying, then ${run.arguments.mode}`, async () => {
        const model = mlp();
        const sparse = await sparsifyActivations(model, new Dataset(MLP.calibration_batches), {
          targetSparsityByScope: {'.*': 0.5},
          calibration: 'nncf',
        });
        const compressed = await compressWeights(sparse, optionsOf(run.arguments));
        const thresholds = new Map(inspect(compressed).map(({path, threshold}) => [path, threshold!]));
        for (const [node, expected] of Object.entries(run.thresholds_after_compress)) {
          expect(thresholds.get(pathOf(node))!).to.be.closeTo(expected, rtol(expected));
        }
        expectClose(predict(compressed, MLP.test_input), run.test_output.flat());
        disposeModels(compressed, sparse, model);
      });
    }
  });

  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));

    for (const run of SELECTION.runs) {
      // A tied embedding has no weight of its own here: a scope can name only the head.
      if (run.tied && run.arguments.ignored_scope !== undefined) continue;
      it(`chooses as for ${run.tied ? 'tied ' : ''}${run.dataset ? 'data, ' : ''}${titleOf(run)}`, async () => {
        const model = selectable(run.tied);
        const dataset = run.dataset ? new Dataset(SELECTION.dataset.map((ids) => [ids])) : undefined;
        const compressing = compressWeights(model, {...optionsOf(run.arguments), ...(dataset && {dataset})});
        if (run.error !== undefined) {
          const isScope = run.error.message.includes('were not found');
          expect((await failure(compressing)).code).to.equal(
            isScope ? 'unmatched-ignored-rule' : CODES[run.error.type],
          );
          model.dispose();
          return;
        }
        const compressed = await compressing;
        const {[`${HEAD_NAME}.weight`]: tied, ...found} = resultOf(compressed, run.arguments.group_size);
        const {'head.weight': head, ...expected} = run.result!;
        if (run.tied) expect({'emb.weight': tied, ...found}).to.deep.equal(expected);
        else expect(found).to.deep.equal({'head.weight': head, ...expected});
        for (const placed of compressibleWeights(compressed)) {
          const name = placed.path === HEAD_NAME ? 'emb' : placed.path;
          const hash = run.dequantized_sha256?.[`${name}.weight`];
          if (hash !== undefined) expect(hashOf(placed), name).to.equal(hash);
        }
        if (run.test_output_last_row !== undefined) {
          const output = predict(compressed, SELECTION.input_ids);
          expectClose(output.subarray(output.length - 12), run.test_output_last_row);
        }
        await expectScores(model, run, dataset);
        disposeModels(compressed, model);
      });
    }

    for (const call of CALLS) {
      const [units, inputs] = call.weight_shape;
      const {error, result} = call;
      // An odd number is an error of how NNCF packs, and these algorithms are not here.
      if (error?.type === 'RuntimeError' || ['gptq', 'lora_correction'].includes(call.name)) continue;
      it(`answers as for ${call.name}`, async () => {
        const model = tf.sequential({
          layers: [tf.layers.dense({name: 'fc', units, inputShape: [inputs], useBias: false})],
        });
        const compressing = compressWeights(model, optionsOf(call.arguments));
        if (error !== undefined) {
          const codes = ['bad-group-size', 'bad-option', 'missing-dataset', 'unsupported-option'];
          expect(codes).to.include((await failure(compressing)).code);
          model.dispose();
          return;
        }
        const compressed = await compressing;
        expect(resultOf(compressed)).to.deep.equal({'fc.weight': 'float', ...result});
        disposeModels(compressed, model);
      });
    }

    it('leaves what is packed already as it is, whatever the mode', async () => {
      const model = mlp();
      const options = {mode: 'int4_sym', groupSize: 32} as const;
      const first = await compressWeights(model, options);
      const before = resultOf(first);
      for (const again of [{mode: 'int4_asym', groupSize: 8, allLayers: true}, {mode: 'int8_sym'}] as const) {
        const second = await compressWeights(first, again);
        expect(resultOf(second)).to.deep.equal(before);
        disposeModels(second);
      }
      disposeModels(first, model);
    });
  });
});
