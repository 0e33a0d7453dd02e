/** @file Pages from a host that sends no headers: why they have one thread, and the script with which they have more. */
import {readFileSync} from 'node:fs';
import {expect} from 'chai';
import {urlOf} from '../support/child.js';
import {inBrowser} from '../support/browser/in-browser.js';
import {tinyFolder} from '../support/language/tiny-checkpoints.js';
import {TINY_LANGUAGE_MODEL} from '../support/language/tiny-language-models.js';
import type * as entry from './pages/language-model.js';

const SCRIPT = new URL(urlOf('lib/language/page/cross-origin-isolation.js'));
const HTML =
  '<!doctype html><html lang="en"><title>spec</title><script src="cross-origin-isolation.js"></script>';

describe('a page from a host without headers', function () {
  this.timeout(60_000);
  const browser = inBrowser({isolated: false, folders: {'/tiny': tinyFolder(TINY_LANGUAGE_MODEL)}});
  const page = browser.in<typeof entry>('spec/browser/pages/language-model.ts');
  const isIsolated = () => browser.page.evaluate('crossOriginIsolated');
  const documents = () => browser.site.requests.filter(({path}) => path === '/app/page.html').length;

  before(() => {
    browser.site.put('/app/cross-origin-isolation.js', readFileSync(SCRIPT));
    browser.site.put('/app/page.html', HTML);
  });
  afterEach(() => page.dispose());

  it('has one thread, and is told why and what to do', async () => {
    const {backend} = await page.load('/tiny/model-f32.gguf');
    expect(backend.threads).to.equal(1);
    expect(backend.why).to.include('Cross-Origin-Opener-Policy: same-origin');
    expect((await page.generate('a', {maxTokens: 3, temperature: 0})).tokens).to.have.length(3);
  });

  it('is isolated by the script, which loads it anew once', async () => {
    await browser.page.goto(`${browser.site.url}/app/page.html`);
    await browser.page.waitForFunction('crossOriginIsolated');
    expect(documents()).to.equal(2);
    const {backend} = await page.load('/tiny/model-f32.gguf');
    expect(backend.why).to.not.include('Cross-Origin');
    expect((await page.generate('a', {maxTokens: 3, temperature: 0})).tokens).to.have.length(3);
    await Promise.all([browser.page.waitForNavigation(), browser.page.evaluate('location.reload()')]);
    expect(await isIsolated()).to.equal(true);
    expect(documents()).to.equal(3);
  });
});
