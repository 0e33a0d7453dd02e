import {expect} from 'chai';
import * as tf from '@tensorflow/tfjs';
import {walkModel} from '../../../lib/model/walk.js';
import {asContainer, onlyTensor} from '../../../lib/tfjs.js';
import {buildModel} from '../../../lib/language/graph/build-model.js';
import {loadWeights} from '../../../lib/language/weights/load-weights.js';
import {disposeModels, onEveryBackend} from '../../support/backends.js';
import {tinyModel} from '../../support/language/tiny-model.js';
import {
  checkpointOf,
  randomIds,
  randomWeights,
  smallConfigs,
} from '../../support/language/random-checkpoint.js';
import {referenceForward} from '../../support/language/reference-forward.js';
import {expectedOf, relativeError, TINY_CHECKPOINTS} from '../../support/language/tiny-checkpoints.js';

/** Of the largest logit: both sides round float32 over these depths. */
const LOGITS_TOLERANCE = 2e-5;
/** Of sums and norms over thousands of values (fixtures' README). */
const SUMS_TOLERANCE = 1e-5;

/** Sums over what enters layers while a model runs. */
interface Entering {
  readonly absSum: Map<string, number>;
  readonly squareSum: Map<string, number>;
  readonly rows: Map<string, number>;
}

/** Runs `model` on ids and records what enters every layer that has a single input. */
function runWatched(model: tf.LayersModel, ids: number[][]): Entering & {logits: tf.Tensor} {
  const entering: Entering = {absSum: new Map(), squareSum: new Map(), rows: new Map()};
  const {layers} = walkModel(asContainer(model));
  for (const {path, layer} of layers) {
    layer.setCallHook((inputs) => {
      const x = onlyTensor(inputs);
      const values = x.dataSync();
      let [abs, square] = [0, 0];
      for (const value of values) {
        abs += Math.abs(value);
        square += value * value;
      }
      entering.absSum.set(path, (entering.absSum.get(path) ?? 0) + abs);
      entering.squareSum.set(path, (entering.squareSum.get(path) ?? 0) + square);
      entering.rows.set(path, (entering.rows.get(path) ?? 0) + x.size / x.shape[x.rank - 1]);
    });
  }
  const input = tf.tensor2d(ids, undefined, 'int32');
  const logits = model.predict(input) as tf.Tensor;
  input.dispose();
  for (const {layer} of layers) layer.clearCallHook();
  return {...entering, logits};
}

/** Where a module of Hugging Face stands in our model. */
function pathOf(module: string): string {
  return module.replace(/block_sparse_moe\./, 'block_sparse_moe/');
}

describe('buildModel', () => {
  onEveryBackend(() => {
    for (const name of TINY_CHECKPOINTS) {
      it(`computes ${name} as the reference does, layer by layer`, async () => {
        const {model, config} = await tinyModel(name);
        const expected = expectedOf(name);
        const {logits, absSum, squareSum, rows} = runWatched(model, expected.input_ids);
        const values = logits.dataSync() as Float32Array;
        logits.dispose();
        const [batch, tokens, vocabulary] = [2, 40, 256];
        expect(values.length).to.equal(batch * tokens * vocabulary);
        for (let row = 0; row < batch; row++) {
          const end = (row + 1) * tokens * vocabulary;
          expect(
            relativeError(values.subarray(end - vocabulary, end), expected.logits_last[row]),
          ).to.be.below(LOGITS_TOLERANCE);
        }
        const sum = values.reduce((total, value) => total + value, 0);
        expect(Math.abs(sum - expected.logits_sum)).to.be.below(SUMS_TOLERANCE * expected.logits_abs_sum);

        const {layers} = config;
        const states = [
          ...Array.from({length: layers}, (_, i) => `model.layers.${i}.input_layernorm`),
          'model.norm',
          'lm_head',
        ];
        states.forEach((path, i) => {
          const norm = Math.sqrt(squareSum.get(path)!);
          expect(norm / expected.hidden_l2[i], path).to.be.closeTo(1, SUMS_TOLERANCE);
        });
        for (const [module, sum] of Object.entries(expected.input_abs_sum)) {
          expect(absSum.get(pathOf(module))! / sum, module).to.be.closeTo(1, SUMS_TOLERANCE);
        }
        for (const [module, {tokens_per_expert}] of Object.entries(expected.router ?? {})) {
          const counts = tokens_per_expert.map((_, e) => rows.get(`${module}/experts.${e}.w1`));
          expect(counts).to.deep.equal(tokens_per_expert);
        }
        disposeModels(model);
      });
    }

    for (const [title, config] of smallConfigs()) {
      it(`computes ${title} as the plain forward pass does`, async () => {
        const weights = randomWeights(config, 7);
        const checkpoint = checkpointOf(config, weights);
        const model = buildModel(config);
        await loadWeights(model, checkpoint);
        const rows = [randomIds(19, config.vocabularySize, 1), randomIds(19, config.vocabularySize, 2)];
        const logits = tf.tidy(
          () => (model.apply(tf.tensor2d(rows, undefined, 'int32')) as tf.Tensor).dataSync() as Float32Array,
        );
        const plain = rows.flatMap((ids) =>
          referenceForward(config, (name) => weights.get(name), ids, checkpoint.normOffset).flatMap((row) => [
            ...row,
          ]),
        );
        expect(relativeError(logits, plain)).to.be.below(LOGITS_TOLERANCE);
        disposeModels(model);
      });
    }
  });
});
