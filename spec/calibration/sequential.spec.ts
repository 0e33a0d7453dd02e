import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {Dataset, inspect, sparsifyActivations} from '../../lib/index.js';
import {quantileAbs} from '../../lib/stats/quantile.js';
import {disposeModels, onEveryBackend} from '../support/backends.js';
import {MLP3, mlp3} from '../support/mlp3.js';

onEveryBackend(() => {
  describe("calibration 'sequential'", () => {
    const batches = () => new Dataset(MLP3.calibration_batches, (batch) => tf.tensor2d(batch));

    it('gives each layer the quantile of all that it reads under the final masks above it', async () => {
      const model = mlp3();
      const sparse = await sparsifyActivations(model, batches(), {
        ...{targetSparsityByScope: {'.*': 0.5}, calibration: 'sequential'},
      });
      const outputs = sparse.layers.map((layer) => layer.output as tf.SymbolicTensor);
      const inputs = [sparse.inputs[0], ...outputs.slice(0, -1)];
      const partial = tf.model({inputs: sparse.inputs, outputs: inputs});
      const read: number[][] = inputs.map(() => []);
      for (const batch of MLP3.calibration_batches) {
        const values = tf.tidy(() =>
          (partial.predictOnBatch(tf.tensor2d(batch)) as tf.Tensor[]).map((t) => t.dataSync()),
        );
        values.forEach((part, i) => read[i].push(...part));
      }
      inspect(sparse).forEach(({threshold}, i) => {
        const expected = quantileAbs(Float32Array.from(read[i]), 0.5);
        expect(threshold!).to.be.closeTo(expected, 0.004 * expected); // a bucket of the histogram
      });
      disposeModels(sparse, model);
    });

    it('is reached through a nested model too, whose layers run live', async () => {
      const inner = mlp3();
      const x = tf.input({shape: [8]});
      const model = tf.model({inputs: x, outputs: inner.apply(x) as tf.SymbolicTensor});
      const sparse = await sparsifyActivations(model, batches(), {
        ...{targetSparsityByScope: {'.*': 0.5}, calibration: 'sequential'},
      });
      // Each layer masks by the quantile of what it has read so far, and the next one reads the result.
      const read: number[][] = inner.layers.map(() => []);
      const expected = inner.layers.map(() => 0);
      for (const batch of MLP3.calibration_batches) {
        tf.tidy(() => {
          let hidden: tf.Tensor = tf.tensor2d(batch);
          inner.layers.forEach((layer, i) => {
            read[i].push(...hidden.dataSync());
            expected[i] = quantileAbs(Float32Array.from(read[i]), 0.5);
            const kept = tf.greater(tf.abs(hidden), expected[i] * 1.003); // where a bucket of the histogram ends
            hidden = layer.apply(tf.where(kept, hidden, tf.zerosLike(hidden))) as tf.Tensor;
          });
        });
      }
      inspect(sparse).forEach(({threshold}, i) => {
        expect(threshold!).to.be.closeTo(expected[i], 0.004 * expected[i]);
      });
      disposeModels(sparse, model);
    });

    it('says which batch is NaN, and leaves the model as it was', async () => {
      const model = mlp3();
      const bad = [MLP3.calibration_batches[0], [Array<number>(8).fill(NaN)]];
      const data = new Dataset(bad, (batch) => tf.tensor2d(batch));
      const options = {targetSparsityByScope: {'.*': 0.5}, calibration: 'sequential', inPlace: true} as const;
      const error: unknown = await sparsifyActivations(model, data, options).catch(
        (reason: unknown) => reason,
      );
      expect(error).to.include({code: 'nan'});
      expect(inspect(model).every(({sparsified}) => !sparsified)).to.equal(true);
      disposeModels(model);
    });
  });
});
