/** @file Language models in a page of a real browser: all that the worker does is what Node does. */
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {expect} from 'chai';
import {inBrowser} from '../support/browser/in-browser.js';
import {loadTiny} from '../support/language/tiny-language-models.js';
import type {LanguageModel} from '../../lib/language/index.js';
import type * as entry from './pages/language-model.js';

const PAGE = 'spec/browser/pages/language-model.ts';

describe('a language model in a page', function () {
  this.timeout(120_000);
  const folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-spec-'));
  const {in: inPage} = inBrowser({folders: {'/models': folder}});
  const page = inPage<typeof entry>(PAGE);
  let lm: LanguageModel;

  before(async () => {
    lm = await loadTiny();
    await lm.save(join(folder, 'tiny'));
  });
  after(() => {
    lm.dispose();
    rmSync(folder, {recursive: true});
  });

  it('generates what Node generates', async () => {
    const loaded = await page.load('/models/tiny');
    expect(loaded.config).to.deep.equal(lm.config);
    console.log(loaded.backend);
    const options = {maxTokens: 20, temperature: 0};
    const {tokens, text} = await lm.generate('Once upon', options);
    const got = await page.generate('Once upon', options);
    expect({tokens: got.tokens, text: got.text}).to.deep.equal({tokens, text});
    const streamed = await page.stream('Once upon', options);
    expect(streamed.tokens.filter((id) => id !== null)).to.deep.equal(tokens);
  });
});
