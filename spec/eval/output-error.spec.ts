import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {measureOutputErrors} from '../../lib/eval/output-error.js';
import {maskingLayers} from '../../lib/model/dense-layers.js';
import {sparsifyActivations} from '../../lib/sparsify.js';
import {onEveryBackend} from '../support/backends.js';
import {failure} from '../support/io/files.js';

describe('errors of outputs', () => {
  onEveryBackend(() => {
    it("are those of each layer's own masking", async () => {
      const ones = {kernelInitializer: 'ones', useBias: false} as const;
      const model = tf.sequential({
        layers: [
          tf.layers.dense({units: 2, inputShape: [4], name: 'a', ...ones}),
          tf.layers.dense({units: 1, name: 'b', ...ones}),
        ],
      });
      const items = [[[1, 2, 3, 4]]];
      await sparsifyActivations(model, items, {targetSparsityByScope: {a: 0.5}, inPlace: true});
      const [{path, error, rows}, ...others] = await measureOutputErrors(model, items);
      expect(others).to.deep.equal([]);
      expect({path, rows}).to.deep.equal({path: 'a', rows: 1});
      // 1 and 2 are masked: both units give 7 for 10. Small whole numbers, exact but for the division in float64.
      expect(error).to.be.closeTo(18 / 200, 1e-15);
      model.dispose();
    });

    it('are none of a model that masks nothing: it says so', async () => {
      const model = tf.sequential({layers: [tf.layers.dense({units: 2, inputShape: [2]})]});
      expect((await failure(measureOutputErrors(model, [[[1, 2]]]))).code).to.equal('not-sparsified');
      model.dispose();
    });

    it('are 0 where the output is, and of no more rows than asked for', async () => {
      const model = tf.sequential({
        layers: [tf.layers.dense({units: 2, inputShape: [2], name: 'a', kernelInitializer: 'zeros'})],
      });
      const items = [[[1, 2]], [[3, 4]], [[5, 6]]];
      await sparsifyActivations(model, items, {targetSparsityByScope: {a: 0.5}, inPlace: true});
      const errors = await measureOutputErrors(model, items, {maxRows: 2});
      expect(errors).to.deep.equal([{path: 'a', error: 0, rows: 2}]);
      model.dispose();
    });

    it('are sums over the rows of all batches, of each layer, as the masked ones before it leave its inputs', async () => {
      const ones = {kernelInitializer: 'ones', useBias: false} as const;
      const model = tf.sequential({
        layers: [
          tf.layers.dense({units: 2, inputShape: [4], name: 'a', ...ones}),
          tf.layers.dense({units: 1, name: 'b', ...ones, useBias: true, biasInitializer: 'ones'}),
        ],
      });
      const batch = [
        [1, 2, 3, 4],
        [0, 0, 6, 8],
      ];
      await sparsifyActivations(model, [batch], {targetSparsityByScope: {'.*': 0.5}, inPlace: true});
      const [a, b] = maskingLayers(model).values();
      a.setThreshold(2);
      b.setThreshold(7); // masks the first row, of 7 and 7, and not the others
      const items = [batch, [[2, 5, 0, 9]]];
      const measured = await measureOutputErrors(model, items);
      // a: 7 for 10, 14 for 14, and 14 for 16, in two units each. b: 1 for 15, and what is there in the others.
      const a2 = (2 * (3 ** 2 + 0 + 2 ** 2)) / (2 * (10 ** 2 + 14 ** 2 + 16 ** 2));
      const b2 = 14 ** 2 / (15 ** 2 + 29 ** 2 + 29 ** 2);
      expect(measured.map(({path, rows}) => [path, rows])).to.deep.equal([
        ['a', 3],
        ['b', 3],
      ]);
      expect(measured[0].error).to.be.closeTo(a2, 1e-12);
      expect(measured[1].error).to.be.closeTo(b2, 1e-12);
      // The second batch is compared up to its first row, and the third is not.
      const cut = await measureOutputErrors(model, [batch, [batch[0], batch[1]], batch], {maxRows: 3});
      expect(cut[0].rows).to.equal(3);
      expect(cut[0].error).to.be.closeTo((3 ** 2 + 3 ** 2) / (10 ** 2 + 14 ** 2 + 10 ** 2), 1e-12);
      model.dispose();
    });

    it('are of 1,024 rows if nothing else is said', async () => {
      const model = tf.sequential({layers: [tf.layers.dense({units: 1, inputShape: [1], name: 'a'})]});
      const items = [Array.from({length: 1000}, (_, i) => [i]), Array.from({length: 30}, (_, i) => [i])];
      await sparsifyActivations(model, items, {targetSparsityByScope: {a: 0.5}, inPlace: true});
      expect((await measureOutputErrors(model, items))[0].rows).to.equal(1024);
      model.dispose();
    });

    it('refuse options that there are not, data that are empty, and say what is missing', async () => {
      const dense = tf.sequential({layers: [tf.layers.dense({units: 2, inputShape: [2], name: 'a'})]});
      expect((await failure(measureOutputErrors(dense, [[[1, 2]]]))).message).to.equal(
        'the model has no sparsified layer, so no output has an error',
      );
      await sparsifyActivations(dense, [[[1, 2]]], {targetSparsityByScope: {a: 0.5}, inPlace: true});
      const wrong = {rows: 5} as object;
      const unknown = await failure(measureOutputErrors(dense, [[[1, 2]]], wrong));
      expect(unknown.code).to.equal('unknown-option');
      expect(unknown.message).to.include('measureOutputErrors').and.include('maxRows');
      expect((await failure(measureOutputErrors(dense, [[[1, 2]]], {maxRows: 0}))).code).to.equal(
        'bad-option',
      );
      expect((await failure(measureOutputErrors(dense, []))).code).to.equal('empty');
      dense.dispose();
    });
  });
});
