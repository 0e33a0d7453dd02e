/** @file The door `tfjs-sparsify` in a page: a model is sparsified there as it is in Node. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {inBrowser} from '../support/browser/in-browser.js';
import * as mlp from './pages/sparsify-mlp.js';

const FILE = 'spec/browser/pages/sparsify-mlp.ts';

for (const browser of ['chrome', 'firefox'] as const) {
  describe(`import 'tfjs-sparsify' in a page of ${browser}`, () => {
    const pages = inBrowser({browser});
    const inPage = pages.in<typeof mlp>(FILE);
    let backend: string | undefined;
    before(() => {
      backend = tf.getBackend();
    });
    after(async () => {
      if (backend) await tf.setBackend(backend);
    });

    it('computes on cpu what Node computes', async () => {
      // Loops of JavaScript over sums and products give the same bits everywhere.
      const expected = await mlp.sparsifyMlp('cpu');
      expect(await inPage.sparsifyMlp('cpu')).to.deep.equal(expected);
      // Half of all normal numbers are smaller than that; of 2304, 0.02 more or less.
      expect(expected.sparse.thresholds[0]).to.be.closeTo(0.6745, 0.05);
    });

    it('computes on wasm what Node computes on cpu, and in a worker too', async () => {
      const expected = await mlp.sparsifyMlp('cpu');
      const outcomes = await inPage.sparsifyMlp('wasm');
      expect(await pages.inWorker<typeof mlp>(FILE).sparsifyMlp('wasm')).to.deep.equal(outcomes);
      for (const state of ['dense', 'sparse', 'compressed', 'retargeted'] as const) {
        expect(outcomes[state].thresholds.length).to.equal(2);
        outcomes[state].thresholds.forEach((threshold, i) => {
          // The histogram's buckets are 0.4 % wide, and a sum that is rounded otherwise can fall into the next one.
          const wanted = expected[state].thresholds[i];
          expect(threshold, `${state} ${i}`).to.be.closeTo(wanted, 0.004 * wanted);
        });
        outcomes[state].outputs.forEach((value, i) => {
          // Sums of 32 products of about 5 by 1 in another order: 32 roundings of 2^-24, of sums of up to 30.
          expect(value, `${state} ${i}`).to.be.closeTo(expected[state].outputs[i], 32 * 2 ** -24 * 30);
        });
      }
    });
  });
}
