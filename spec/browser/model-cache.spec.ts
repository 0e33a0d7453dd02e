/** @file Downloads that are stored in a real browser: in its file system and its cache, over tabs, with a quota. */
import {createHash} from 'node:crypto';
import {setTimeout} from 'node:timers/promises';
import {expect} from 'chai';
import {PIECE_BYTES} from '../../lib/io/web/cached-entry.js';
import {inBrowser} from '../support/browser/in-browser.js';
import {STORE_CONTRACT} from '../support/io/store-contract.js';
import type * as ModelCache from './pages/model-cache.js';

const PAGE = 'spec/browser/pages/model-cache.ts';
const KINDS = ['opfs', 'cache-api'] as const;
/** 2 whole pieces and a part of a third. */
const SIZE = 2 * PIECE_BYTES + 1000;
const BYTES = new Uint8Array(
  Uint32Array.from({length: SIZE / 4}, (_, i) => Math.imul(i + 1, 2654435761)).buffer,
);
const SHA256 = createHash('sha256').update(BYTES).digest('hex');

for (const browser of ['chrome', 'firefox'] as const) {
  describe(`downloads that are stored in ${browser}`, function () {
    this.timeout(120_000);
    const pages = inBrowser({browser});
    const inPage = pages.in<typeof ModelCache>(PAGE);
    const inWorker = pages.inWorker<typeof ModelCache>(PAGE);
    const url = () => `${pages.site.url}/model.bin`;

    before(() => pages.site.put('/model.bin', BYTES));
    beforeEach(async () => {
      for (const kind of KINDS) await inPage.clear(kind);
      pages.site.requests.length = 0;
    });
    afterEach(() => {
      pages.site.fail('/model.bin', undefined);
      pages.site.offline = false;
      pages.takeErrors(); // Browsers tell of every request that fails.
    });

    const ranges = () =>
      pages.site.requests.filter(({path}) => path === '/model.bin').map(({range}) => range ?? null);

    for (const kind of KINDS) {
      it(`keeps, replaces, lists and deletes pieces in the ${kind}`, async () => {
        expect(await inPage.contract(kind)).to.deep.equal(STORE_CONTRACT);
        expect(await inWorker.contract(kind)).to.deep.equal(STORE_CONTRACT);
      });

      it(`downloads once into the ${kind}, for pages and workers, and reads it without the server`, async () => {
        expect(await inWorker.load('/model.bin', kind)).to.deep.equal({
          ...{sha256: SHA256, downloaded: SIZE, cached: 0, notices: [], error: null},
        });
        pages.site.offline = true;
        const again = {sha256: SHA256, downloaded: 0, cached: SIZE, notices: [], error: null};
        expect(await inPage.load('/model.bin', kind)).to.deep.equal(again);
      });

      it(`finds a damaged piece in the ${kind} and fetches it alone`, async () => {
        await inPage.load('/model.bin', kind);
        await inPage.damage(kind, '1');
        pages.site.requests.length = 0;
        const {sha256, notices} = await inWorker.load('/model.bin', kind);
        expect(sha256).to.equal(SHA256);
        expect(ranges()).to.deep.equal([`bytes=${PIECE_BYTES}-${2 * PIECE_BYTES - 1}`]);
        expect(notices).to.deep.equal([
          `a part of ${url()} in the cache is missing or damaged: it is downloaded again`,
        ]);
      });
    }

    it('goes on where a closed tab stopped, which no longer keeps others out', async () => {
      pages.site.fail('/model.bin', {kind: 'slow', pieceBytes: 256 * 1024, pauseMs: 20});
      const tab = await pages.openTab();
      const bundle = '/bundles/spec/browser/pages/model-cache.js'; // there since the page above called something
      await tab.evaluate(`void import('${bundle}').then((entry) => entry.load('/model.bin', 'opfs'))`);
      while ((await inPage.storedPieces('opfs')) < 2) await setTimeout(20);
      await tab.close();
      pages.site.fail('/model.bin', undefined);
      pages.site.requests.length = 0;
      const outcome = await inPage.load('/model.bin', 'opfs');
      expect(outcome).to.include({sha256: SHA256, error: null});
      expect(outcome.cached, 'the second may have been on its way').to.be.at.least(PIECE_BYTES);
      expect(outcome.cached + outcome.downloaded).to.equal(SIZE);
      for (const range of ranges()) expect(range).to.equal(`bytes=${outcome.cached}-`);
    });

    it('downloads once for two tabs that ask at the same time', async () => {
      pages.site.fail('/model.bin', {kind: 'slow', pieceBytes: 256 * 1024, pauseMs: 10});
      const tab = await pages.openTab();
      const bundle = '/bundles/spec/browser/pages/model-cache.js';
      const other = tab.evaluate(
        `import('${bundle}').then((entry) => entry.load('/model.bin', 'opfs')).then(JSON.stringify)`,
      ) as Promise<string>;
      while ((await inPage.storedPieces('opfs')) === 0) await setTimeout(20);
      const second = await inPage.load('/model.bin', 'opfs');
      const first = JSON.parse(await other) as ModelCache.Outcome;
      await tab.close();
      expect(first).to.include({sha256: SHA256, downloaded: SIZE, cached: 0});
      expect(second).to.deep.include({
        ...{sha256: SHA256, downloaded: 0, cached: SIZE},
        notices: [`${url()} is being downloaded by another tab or call: waiting for it`],
      });
    });

    it('takes the file system, else the cache, else memory', async () => {
      expect(await inWorker.chosen([])).to.equal('opfs');
      expect(await inWorker.chosen(['opfs'])).to.equal('cache-api');
      expect(await inWorker.chosen(['opfs', 'cache-api'])).to.equal('memory');
    });

    if (browser === 'chrome') {
      it('says how much room is missing, and goes on when there is some', async () => {
        const session = await pages.page.createCDPSession();
        const {usage = 0} = (await pages.page.evaluate('navigator.storage.estimate()')) as StorageEstimate;
        const origin = pages.site.url;
        try {
          await session.send('Storage.overrideQuotaForOrigin', {
            origin,
            quotaSize: usage + PIECE_BYTES + 500_000,
          });
          const full = await inWorker.load('/model.bin', 'opfs');
          expect(full.error?.[0]).to.equal('storage-full');
          expect(full.error?.[1]).to.contain('deleteCachedModel');
          expect(await inPage.storedPieces('opfs')).to.be.at.most(2);
        } finally {
          await session.send('Storage.overrideQuotaForOrigin', {origin});
          await session.detach();
        }
        expect(await inWorker.load('/model.bin', 'opfs')).to.include({sha256: SHA256, error: null});
      });
    }
  });
}
