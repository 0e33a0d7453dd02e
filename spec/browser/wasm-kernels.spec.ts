/** @file The kernels of `tfjs-sparsify/wasm` in real browsers: every one against the definition, with and without threads. */
import {expect} from 'chai';
import {INT4_KINDS} from '../../lib/quantization/int4.js';
import {INT8_MODES} from '../../lib/quantization/int8.js';
import {inBrowser} from '../support/browser/in-browser.js';
import type * as kernels from './pages/wasm-kernels.js';

const FILE = 'spec/browser/pages/wasm-kernels.ts';
/** 5 sparsities of 7 shapes by 4 numbers of rows, 2 for every number of rows to 33, 12 large ones. */
const CASES = 5 * 7 * 4 + 2 * 33 + 12;

const PLACES = [
  {browser: 'chrome', isolated: true, asked: 3, threads: 3, why: /^3 threads, as asked for$/},
  {browser: 'chrome', isolated: true, asked: 1, threads: 1, why: /^one thread, as asked for$/},
  {browser: 'chrome', isolated: false, threads: 1, why: /^one thread: .*Cross-Origin-Opener-Policy/},
  {browser: 'firefox', isolated: true, asked: 2, threads: 2, why: /^2 threads, as asked for$/},
] as const;

for (const {browser, isolated, threads, why, ...rest} of PLACES) {
  const asked = 'asked' in rest ? rest.asked : null;
  const title = `${browser}, ${isolated ? '' : 'not '}isolated, threads: ${asked ?? 'not asked for'}`;
  describe(`the kernels in WebAssembly (${title})`, () => {
    const pages = inBrowser({browser, isolated});
    const page = pages.in<typeof kernels>(FILE);

    it('are registered, and tell on how many threads they compute and why', async () => {
      const started = await page.start(asked);
      expect(started.threads).to.equal(threads);
      expect(started.why).to.match(why);
      expect(started.kernels).to.deep.equal([true, true, true]);
    });

    it('equal the definition for every shape, sparsity, bias and activation', async () => {
      expect(await page.sweep()).to.equal(CASES);
    });

    it('equal the definition with weights in INT8', async () => {
      expect(await page.sweepInt8()).to.equal(CASES * INT8_MODES.length);
      expect(await page.dequantizationError()).to.equal(0);
    });

    it('equal the definition with weights in INT4', async () => {
      expect(await page.sweepInt4()).to.equal(CASES * INT4_KINDS.length);
      expect(await page.int4DequantizationError()).to.equal(0);
    });

    it('find tensors where they are after the memory has grown', async () => {
      await page.checkAfterGrowth();
    });

    it('leave no tensor behind', async () => {
      expect(await page.leakedTensors()).to.equal(0);
    });
  });
}

describe('the kernels in WebAssembly without SIMD', () => {
  const pages = inBrowser();

  it('are not registered, and the backend goes on without them', async () => {
    const {code, message} = await pages.in<typeof kernels>(FILE).startWithoutSimd();
    expect(code).to.equal('no-wasm-simd');
    expect(message).to.include('Safari 16.4');
  });
});
