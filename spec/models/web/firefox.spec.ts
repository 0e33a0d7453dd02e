/** @file The main paths of the page in Firefox. */
import {expect} from 'chai';
import {webPage} from '../../support/web/web-page.js';

describe('the page of models/web in Firefox', () => {
  const web = webPage({browser: 'firefox'});

  it('reads a digit, and takes another sparsity at once', async () => {
    await web.shows('digit-answer', /^Dense and sparse both read a \d\.$/);
    expect(await web.page.evaluate(() => crossOriginIsolated)).to.equal(true);
    expect(await web.text('machine')).to.match(
      /^TensorFlow\.js on WebAssembly, with kernels that skip rows: \d+ threads?/,
    );
    await web.slide('digit-sparsity', 0);
    await web.shows('layers', /^hidden_1: 78[34] of 784 rows read/); // the smallest input is masked with its threshold
    await web.shows('digit-latency', /^Dense [\d.]+ ms, sparse [\d.]+ ms: .* Sparse is/);
  });

  it('chats with a language model, which it keeps', async () => {
    await web.click('load-chat');
    await web.shows('chat-facts', /^Tiny on wasm, (one thread|\d+ threads): /);
    await web.page.type('#question', ' Once upon a time');
    await web.click('compare');
    await web.shows('chat-speed', /^(Dense [\d.]+, sparse [\d.]+ tokens a second|An answer is too short)/);
    const [sparse] = await web.page.$$eval('#messages .sparse', (messages) =>
      messages.map(({lastChild}) => lastChild!.textContent),
    );
    expect(sparse).not.to.equal('');
    await web.click('measure-text');
    await web.shows('perplexity', /^Dense [\d.]+, sparse [\d.]+ \([+−][\d.]+ %\)/);
    expect(await web.text('kept-bytes')).to.match(/^[\d.]+ [KM]B of language models are kept/);
  });

  it("sparsifies a model of one's own", async () => {
    await web.page.$eval('#from-url', (form) => (form as HTMLFormElement).requestSubmit());
    await web.shows('own-status', /^The model is loaded\.$/);
    await web.click('own-sparsify');
    await web.shows('own-result', /^Sparsified on random numbers/);
    await web.click('own-bench');
    await web.shows('own-result', /^Dense [\d.]+ ms, sparse [\d.]+ ms a sample/);
    const paths = await web.page.$$eval('#own-layers th', (cells) =>
      cells.map(({textContent}) => textContent),
    );
    expect(paths).to.deep.equal(['hidden_1', 'hidden_2', 'digits']);
  });

  it('works without a network after the first visit', async () => {
    await web.shows('offline', /^This page works offline now\.$/);
    web.site.offline = true;
    try {
      await web.page.reload();
      await web.shows('digit-answer', /^Dense and sparse both read/);
      await web.shows('chat-before', /^Tiny/);
      await web.click('load-chat');
      await web.shows('chat-facts', /^Tiny on wasm/);
    } finally {
      web.site.offline = false;
    }
  });
});
