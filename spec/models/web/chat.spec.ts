/** @file The chat panel of the page, with a tiny language model: what it says is what the model says in Node. */
import {join} from 'node:path';
import {expect} from 'chai';
import type {ElementHandle} from 'puppeteer-core';
import {inspect, inspectWeights, retarget} from '../../../lib/index.js';
import {PROJECTIONS} from '../../../lib/language/index.js';
import {tinyFolder} from '../../support/language/tiny-checkpoints.js';
import {TINY_LANGUAGE_MODEL, printableText} from '../../support/language/tiny-language-models.js';
import {webPage} from '../../support/web/web-page.js';

/** As the panel asks for. */
const MAX_TOKENS = 200;

describe('the chat panel of the page', () => {
  const web = webPage();

  const answers = (of: 'user' | 'dense' | 'sparse') =>
    web.page.$$eval(`#messages .${of}`, (messages) =>
      messages.map(({lastChild}) => lastChild!.textContent ?? ''),
    );
  const ask = async (text: string, button = 'send') => {
    await web.page.$eval(
      '#question',
      (area, text) => {
        (area as HTMLTextAreaElement).value = text;
      },
      text,
    );
    await web.click(button);
  };
  const idle = () =>
    web.page.waitForFunction(() => (document.getElementById('stop') as HTMLButtonElement).disabled);
  /** Mega- or kilobytes with three digits, as bytes. */
  const bytesIn = (text: string) =>
    [...text.matchAll(/([\d.]+) (KB|MB)/g)].map(
      ([, count, unit]) => Number(count) * (unit === 'KB' ? 1e3 : 1e6),
    );

  it('says what will be fetched before anything is', async () => {
    expect(await web.shows('chat-before', /^Tiny: \d+ KB, /)).to.include('kept in this browser');
    expect(web.site.requests.some(({path}) => path.startsWith('/models/chat/'))).to.equal(false);
  });

  it('loads the model, and says what computes with how many threads, and why', async () => {
    await web.click('load-chat');
    const facts = await web.shows('chat-facts', /^Tiny on /);
    expect(facts).to.match(/^Tiny on (wasm|cpu), (one thread|\d+ threads): .+; [\d.]+ [KM]B of tensors\.$/);
  });

  it('says how many bytes of weights a token reads', async () => {
    const said = bytesIn(await web.shows('chat-bytes', /^A token reads/));
    const [dense, sparse] = inspect(web.lm.model).reduce(
      ([dense, sparse], {bytes, reached}) => [dense + bytes, sparse + bytes * (1 - (reached ?? 0))],
      [0, 0],
    );
    expect(said[0]).to.be.closeTo(sparse, 0.01 * sparse);
    expect(said[1]).to.be.closeTo(dense, 0.01 * dense);
    expect(dense).to.be.at.least(inspectWeights(web.lm.model).reduce((sum, {bytes}) => sum + bytes, 0) / 2);
  });

  it('answers dense and sparse beside each other, as the model does', async () => {
    const prompt = [{role: 'user', content: 'Once upon a time'}] as const;
    await ask(prompt[0].content, 'compare');
    await web.shows(
      'chat-speed',
      /^(Dense [\d.]+, sparse [\d.]+ tokens a second\. Sparse is|An answer is too short)/,
    );
    const expected = [];
    for (const prefill of [web.lm.config.contextLength, 'dense'] as const) {
      expected.push((await web.lm.generate(prompt, {maxTokens: MAX_TOKENS, prefill})).text);
    }
    const shown = [...(await answers('dense')), ...(await answers('sparse'))];
    // Sums in another order may choose another token somewhere, and all after that are others.
    for (const [i, text] of expected.entries()) expect(shown[i].slice(0, 6)).to.equal(text.slice(0, 6));
    expect(expected[0]).not.to.equal(expected[1]);
    expect(await answers('user')).to.deep.equal(['Once upon a time']);
  });

  it('goes on with the conversation, and forgets it', async () => {
    const before = (await answers('sparse'))[0];
    await ask('And then?');
    await idle();
    const prompt = [
      {role: 'user', content: 'Once upon a time'},
      {role: 'assistant', content: before},
      {role: 'user', content: 'And then?'},
    ] as const;
    const {text} = await web.lm.generate(prompt, {maxTokens: MAX_TOKENS});
    expect((await answers('sparse'))[1].slice(0, 4)).to.equal(text.slice(0, 4));
    await web.click('forget');
    expect(await answers('user')).to.deep.equal([]);
  });

  it('is stopped, and answers the next question', async () => {
    // In one breath: a tiny model may be faster than a pointer.
    await web.page.evaluate(() => {
      (document.getElementById('question') as HTMLTextAreaElement).value = 'Tell me all that you know';
      for (const id of ['send', 'stop']) document.getElementById(id)!.click();
    });
    await web.shows('messages', /Sparse · stopped/);
    expect(await web.page.$eval('#chat-error', (alert) => (alert as HTMLElement).hidden)).to.equal(true);
    await idle();
    await ask('Once upon a time');
    await web.shows('messages', /Sparse · [\d.]+ tokens a second/);
    await web.click('forget');
  });

  it('takes other targets from the slider at once, while it answers too', async () => {
    await ask('Once upon a time');
    await web.slide('chat-sparsity', 80);
    await web.shows('chat-sparsity-value', /^80 %$/);
    await idle();
    retarget(web.lm.model, {[PROJECTIONS.all]: 0.8});
    await web.click('forget');
    await ask('Once upon a time');
    await idle();
    const {text} = await web.lm.generate([{role: 'user', content: 'Once upon a time'}], {
      maxTokens: MAX_TOKENS,
    });
    expect((await answers('sparse'))[0].slice(0, 6)).to.equal(text.slice(0, 6));
  });

  it('measures the perplexity of a text, dense and sparse', async () => {
    const text = printableText(300, 9);
    await web.page.$eval(
      '#text',
      (area, text) => {
        (area as HTMLTextAreaElement).value = text;
      },
      text,
    );
    await web.click('measure-text');
    const said = await web.shows('perplexity', /^Dense [\d.]+, sparse/);
    const [dense, sparse, tokens] = [/^Dense ([\d.]+)/, /sparse ([\d.]+)/, /over (\d+) tokens/].map((part) =>
      Number(part.exec(said)![1]),
    );
    const protocol = {protocol: 'token', contextLength: 512} as const;
    const expected = await web.lm.perplexity(text, {...protocol, dense: true});
    const masked = await web.lm.perplexity(text, protocol);
    expect(dense).to.be.closeTo(expected.tokenPerplexity, 0.01 * expected.tokenPerplexity);
    expect(sparse).to.be.closeTo(masked.tokenPerplexity, 0.01 * masked.tokenPerplexity);
    expect(tokens).to.equal(expected.tokens);
  });

  it('says what is wrong with a text without words', async () => {
    await web.page.$eval('#text', (area) => {
      (area as HTMLTextAreaElement).value = '';
    });
    await web.click('measure-text');
    await web.shows('chat-error', /./);
    expect(web.takeErrors()).to.have.length.greaterThan(0);
  });

  it('takes a .gguf file of a visitor, and finds thresholds on a text', async () => {
    const input = (await web.page.$('#chat-file')) as ElementHandle<HTMLInputElement>;
    await input.uploadFile(join(tinyFolder(TINY_LANGUAGE_MODEL), 'model-f32.gguf'));
    await web.shows('chat-bytes', /^This model is dense\./);
    expect(await web.text('chat-facts')).to.match(/^model-f32\.gguf on /);
    expect(await web.text('question-name')).to.include('it was not trained to chat');
    await web.page.$eval(
      '#text',
      (area, text) => {
        (area as HTMLTextAreaElement).value = text;
      },
      printableText(1500, 4),
    );
    await web.click('find-thresholds');
    // The slider was left at 80 %.
    const [sparse, dense] = bytesIn(await web.shows('chat-bytes', /^A token reads/));
    const projections = inspect(web.lm.model).filter(({sparsified}) => sparsified);
    const masked = 0.8 * projections.reduce((sum, {bytes}) => sum + bytes, 0);
    expect(sparse).to.be.closeTo(dense - masked, 0.05 * dense);
    await ask('Once upon a time');
    await idle();
    expect((await answers('sparse'))[0]).not.to.equal('');
  });
});
