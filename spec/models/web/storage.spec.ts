/** @file What the page keeps of a language model, and what it says when that goes wrong: on slow, broken and absent networks. */
import {setTimeout} from 'node:timers/promises';
import {expect} from 'chai';
import type * as entry from '../../support/web/stored-files.js';
import {controls, tinyWeights, webPage} from '../../support/web/web-page.js';

describe('language models that the page keeps', () => {
  const web = webPage();
  const stored = web.in<typeof entry>('spec/support/web/stored-files.ts');
  const weights = () => `/models/chat/${tinyWeights()}`;

  const fetched = () => web.site.requests.filter(({path}) => path === weights()).length;
  const loads = () => web.shows('chat-facts', /^Tiny on /);
  const isAnswered = async () => {
    await web.page.$eval('#question', (area) => {
      (area as HTMLTextAreaElement).value = 'Once upon a time';
    });
    await web.click('send');
    await web.shows('messages', /Sparse · [\d.]+ tokens a second./);
  };
  const reload = async () => {
    await web.page.reload();
    await web.shows('chat-before', /^Tiny: /);
  };
  /** Forgets all that was kept. */
  const start = async () => {
    await reload();
    await web.shows('kept-bytes', /kept in this browser/);
    if (await web.page.$eval('#kept', (kept) => !(kept as HTMLElement).hidden)) {
      await web.click('delete-kept');
      await web.shows('kept-bytes', /^0 bytes/);
    }
    web.site.requests.length = 0;
  };
  before(() => web.shows('offline', /works offline/)); // a first visit ends when the page's own files are kept
  beforeEach(start);
  afterEach(() => web.site.fail(weights(), undefined));

  it('is cancelled in mid-download, and goes on the next time', async () => {
    web.site.fail(weights(), {kind: 'slow', pieceBytes: 4096, pauseMs: 1000});
    await web.click('load-chat');
    await web.shows('chat-progress-text', /^[\d.]+ [KM]B of [\d.]+ [KM]B/);
    await web.shows(
      'chat-memory',
      /^It takes [\d.]+ MB of memory: [\d.]+ [KM]B of weights, .*; this device may give [\d.]+ GB\.$/,
    );
    await web.click('cancel-chat');
    await web.shows('chat-error', /^Stopped\.$/);
    expect(await web.page.$eval('#chat-ready', (ready) => (ready as HTMLElement).hidden)).to.equal(true);
    web.takeErrors();
    web.site.fail(weights(), undefined);
    await web.click('load-chat');
    await loads();
    await isAnswered();
  });

  it('says in words what a server that fails says, and takes the model once it is mended', async () => {
    web.site.fail(weights(), {kind: 'status', status: 404});
    await web.click('load-chat');
    await web.shows('chat-error', /404/);
    web.takeErrors();
    web.site.fail(weights(), undefined);
    await web.click('load-chat');
    await loads();
  });

  it('answers without a network once it was loaded', async () => {
    await web.click('load-chat');
    await loads();
    const before = fetched();
    web.site.offline = true;
    try {
      await reload();
      expect(await web.text('kept-bytes')).to.match(
        /^[\d.]+ [KM]B of language models are kept in this browser\.$/,
      );
      await web.click('load-chat');
      await loads();
      await isAnswered();
    } finally {
      web.site.offline = false;
    }
    expect(fetched()).to.equal(before);
  });

  it('fetches again what is damaged in its store', async () => {
    await web.click('load-chat');
    await loads();
    const before = fetched();
    const damaged = await stored.damage();
    expect(damaged).to.be.at.least(1);
    await reload();
    await web.click('load-chat');
    await loads();
    expect(await web.text('chat-notice')).to.include('missing or damaged: it is downloaded again');
    expect(fetched()).to.be.greaterThan(before);
    await isAnswered();
  });

  it('says that there is no room for it', async () => {
    const session = await web.page.createCDPSession();
    const origin = web.site.url;
    const used = await web.page.evaluate(async () => (await navigator.storage.estimate()).usage!);
    await session.send('Storage.overrideQuotaForOrigin', {origin, quotaSize: used + 10_000});
    try {
      await web.click('load-chat');
      const said = await web.shows('chat-error', /room|space|storage/i);
      expect(said).to.match(/\d/);
      web.takeErrors();
    } finally {
      await session.send('Storage.overrideQuotaForOrigin', {origin});
      await session.detach();
    }
    await web.click('load-chat');
    await loads();
  });

  it('is downloaded once by two tabs, of which one waits', async () => {
    await web.click('load-chat');
    await loads();
    const ofOne = fetched();
    await start();
    web.site.fail(weights(), {kind: 'slow', pieceBytes: 2048, pauseMs: 50});
    const tab = await web.openTab();
    const other = controls(() => tab);
    await other.shows('digit-latency', /^Dense/); // it has nothing else to do any more
    await web.click('load-chat');
    while (fetched() < ofOne) await setTimeout(50); // until the last request for the file is on its way
    await other.click('load-chat');
    await other.shows('chat-notice', /is being downloaded by another tab/);
    await Promise.all([loads(), other.shows('chat-facts', /^Tiny on /)]);
    expect(fetched()).to.equal(ofOne); // the one that waited had nothing left to fetch
    await isAnswered();
  });
});
