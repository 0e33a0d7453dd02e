/** @file The fused decoder of `tfjs-sparsify/wasm` in real browsers: against the reference vectors, and against the layers. */
import {dirname, basename} from 'node:path';
import {expect} from 'chai';
import {ROOT} from '../support/guides.js';
import {inBrowser} from '../support/browser/in-browser.js';
import {
  BFLOAT16_TOLERANCE,
  FLOAT16_TOLERANCE,
  TOLERANCE,
  meanError,
} from '../support/language/logit-errors.js';
import {smollm2, smollm2Fixture} from '../support/language/smollm2.js';
import {TINY_CHECKPOINTS, expectedOf, relativeError} from '../support/language/tiny-checkpoints.js';
import type * as decoder from './pages/wasm-decoder.js';

const FILE = 'spec/browser/pages/wasm-decoder.ts';

const PLACES = [
  {browser: 'chrome', isolated: true, backend: 'wasm', threads: 2},
  {browser: 'chrome', isolated: false, backend: 'cpu', threads: 1},
  {browser: 'firefox', isolated: true, backend: 'cpu', threads: 2},
] as const;

for (const {browser, isolated, backend, threads} of PLACES) {
  const title = `${browser}, ${isolated ? '' : 'not '}isolated, backend ${backend}`;
  describe(`the decoder in WebAssembly (${title})`, () => {
    const pages = inBrowser({browser, isolated, folders: {'/tiny': `${ROOT}spec/fixtures/tiny`}});
    const page = pages.in<typeof decoder>(FILE);

    before(async () => {
      expect(await page.start(backend, 2)).to.have.property('threads', threads);
    });

    for (const name of TINY_CHECKPOINTS) {
      it(`continues ${name} as the reference does, token for token`, async () => {
        const {input_ids, logits_last, greedy_ids} = expectedOf(name);
        await page.open(`/tiny/${name}/`);
        // A Hugging Face folder may have files that this one has not; browsers tell of each that it is asked for.
        expect(pages.takeErrors().filter((error) => !error.includes('404'))).to.deep.equal([]);
        const {after, tokens} = await page.decode(input_ids[0], input_ids[0].length, greedy_ids.length);
        expect(relativeError(after, logits_last[0])).to.be.below(2e-5);
        expect(tokens).to.deep.equal(greedy_ids);
      });
    }

    for (const kind of ['dense', 'sparse'] as const) {
      it(`gives what the layers give, ${kind}, counts what they count, and leaves them their weights`, async () => {
        // A memory that threads share keeps its place when it grows; another one does not.
        const grows = !isolated && kind === 'dense';
        for (const {title, got, expected, afterwards, counts} of await page.compareWithLayers(kind, grows)) {
          expect(relativeError(got, expected), title).to.be.below(TOLERANCE);
          expect(counts[0], title).to.deep.equal(counts[1]);
          expect(afterwards, title).to.deep.equal(expected);
        }
      });
    }

    it('stays near the layers with INT8 weights, whose inputs it rounds to 16 bits', async () => {
      for (const {title, got, expected} of await page.compareWithLayers('int8')) {
        expect(meanError(got, expected), title).to.be.below(FLOAT16_TOLERANCE);
      }
    });

    it('stays near the layers with weights and cache in bfloat16', async () => {
      for (const {title, got, expected} of await page.compareWithLayers('bfloat16')) {
        expect(meanError(got, expected), title).to.be.within(1e-6, BFLOAT16_TOLERANCE);
      }
    });
  });
}

describe('the decoder in WebAssembly with SmolLM2-135M-Instruct', function () {
  this.timeout(300_000);
  const pages = inBrowser({folders: () => ({'/smollm2': dirname(smollm2())})});
  const page = pages.in<typeof decoder>(FILE);

  it('has the reference logits and continues as the reference does', async () => {
    await page.start('cpu', 2);
    await page.open(`/smollm2/${basename(smollm2())}`);
    const forward = smollm2Fixture('forward') as {
      cases: {ids: number[]; top20_ids: number[]; top20_logits: number[]; logits_absmax: number}[];
    };
    const [{ids, top20_ids, top20_logits, logits_absmax}] = forward.cases;
    for (const atOnce of [ids.length, 1]) {
      const {after} = await page.decode(ids, atOnce, 0);
      top20_ids.forEach((id, i) =>
        expect(after[id]).to.be.closeTo(top20_logits[i], TOLERANCE * logits_absmax),
      );
    }
    const greedy = smollm2Fixture('greedy') as {cases: {ids: number[]; new_ids: number[]}[]};
    const [{ids: prompt, new_ids: continuation}] = greedy.cases;
    expect((await page.decode(prompt, prompt.length, continuation.length)).tokens).to.deep.equal(
      continuation,
    );
  });
});
