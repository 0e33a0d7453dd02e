import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {measureOutputErrors} from '../../lib/eval/output-error.js';
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
  });
});
