/** @file What holds of the whole page: who can use it, on what, and whom it asks. */
import {createServer, type Server} from 'node:http';
import type {AddressInfo} from 'node:net';
import {expect} from 'chai';
import type {SerializedAXNode} from 'puppeteer-core';
import type * as entry from '../../support/web/contrast.js';
import {controls, webPage, type WebPage} from '../../support/web/web-page.js';

/** Shows all that the page can show. */
async function openAll(web: WebPage): Promise<void> {
  await web.shows('digit-latency', /^Dense/);
  await web.click('load-chat');
  await web.shows('chat-bytes', /^A token reads/);
  await web.page.focus('#model-url');
  await web.page.keyboard.press('Enter');
  await web.shows('own-status', /^The model is loaded\.$/);
  await web.click('own-sparsify');
  await web.shows('own-result', /^Sparsified/);
  await web.page.type('#question', ' Once more?');
  await web.click('compare');
  await web.shows('chat-speed', /^(Dense|An answer is too short)/);
}

describe('the page of models/web', () => {
  const web = webPage();
  const contrast = web.in<typeof entry>('spec/support/web/contrast.ts');
  const asked: string[] = [];

  before(async () => {
    web.page.on('request', (request) => asked.push(request.url()));
    await web.page.reload();
    await openAll(web);
  });

  it('asks no host but its own', () => {
    expect(asked.length).to.be.greaterThan(10);
    expect(
      asked.filter((url) => !url.startsWith(web.site.url) && !url.startsWith(`blob:${web.site.url}`)),
    ).to.deep.equal([]);
  });

  it('is not let ask another one, whatever runs in it', async () => {
    const visits: string[] = [];
    const other: Server = createServer((request, response) => {
      visits.push(request.url!);
      response
        .writeHead(200, {'Access-Control-Allow-Origin': '*', 'Cross-Origin-Resource-Policy': 'cross-origin'})
        .end();
    });
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
    try {
      const outcome = await web.page.evaluate(async (url: string) => {
        const violated: string[] = [];
        document.addEventListener('securitypolicyviolation', (event) =>
          violated.push(event.effectiveDirective),
        );
        const fetched = await fetch(`${url}/fetch`).then(
          () => 'answered',
          () => 'refused',
        );
        const added = [
          Object.assign(new Image(), {src: `${url}/image`}),
          Object.assign(document.createElement('script'), {src: `${url}/script`}),
          Object.assign(document.createElement('link'), {rel: 'stylesheet', href: `${url}/style`}),
        ];
        document.body.append(...added);
        await new Promise((resolve) => setTimeout(resolve, 300));
        for (const element of added) element.remove();
        return {fetched, violated: violated.sort()};
      }, url);
      expect(outcome).to.deep.equal({
        fetched: 'refused',
        violated: ['connect-src', 'img-src', 'script-src-elem', 'style-src-elem'],
      });
      expect(visits).to.deep.equal([]);
      web.takeErrors();
    } finally {
      other.close();
    }
  });

  it('names every control for those who do not see it', async () => {
    const tree = (await web.page.accessibility.snapshot({interestingOnly: false}))!;
    const nodes: SerializedAXNode[] = [];
    const collect = (node: SerializedAXNode) => {
      nodes.push(node);
      node.children?.forEach(collect);
    };
    collect(tree);
    const roles = [
      'button',
      'textbox',
      'slider',
      'spinbutton',
      'combobox',
      'checkbox',
      'link',
      'table',
      'image',
      'img',
      'log',
      'navigation',
    ];
    const found = nodes.filter(({role}) => roles.includes(role));
    const count = (role: string) => found.filter((node) => node.role === role).length;
    expect([count('slider'), count('table'), count('checkbox'), count('combobox')]).to.deep.equal([
      3, 2, 1, 1,
    ]);
    expect(
      found.filter(({name}) => name === undefined || name.trim() === '').map(({role}) => role),
    ).to.deep.equal([]);
    const said = await web.page.$$eval('[type=range]', (sliders) =>
      sliders.map((slider) => slider.getAttribute('aria-valuetext')),
    );
    expect(said).to.deep.equal(['50 percent', '50 percent', '50 percent']);
  });

  it('has headings in their order, ids of their own, and regions that are read out', async () => {
    const {levels, ids, language, regions, broken} = await web.page.evaluate(() => ({
      levels: [...document.querySelectorAll('h1, h2, h3, h4')].map(({localName}) => Number(localName[1])),
      ids: [...document.querySelectorAll('[id]')].map(({id}) => id),
      language: document.documentElement.lang,
      regions: ['status', 'alert', 'log'].map((role) => document.querySelectorAll(`[role=${role}]`).length),
      broken: [...document.querySelectorAll('[for], [aria-labelledby], [aria-describedby]')].flatMap(
        (element) =>
          ['for', 'aria-labelledby', 'aria-describedby']
            .map((name) => element.getAttribute(name))
            .filter((id) => id !== null && document.getElementById(id) === null),
      ),
    }));
    expect(levels[0]).to.equal(1);
    expect(levels.filter((level) => level === 1)).to.have.length(1);
    levels.slice(1).forEach((level, i) => expect(level).to.be.at.most(levels[i] + 1));
    expect(new Set(ids).size).to.equal(ids.length);
    expect(language).to.equal('en');
    expect(broken).to.deep.equal([]);
    const [status, alert, log] = regions;
    expect(status).to.be.at.least(8);
    expect([alert, log]).to.deep.equal([3, 1]);
  });

  it('is used by keyboard: every control is reached, in the order of the page, and is seen to be', async () => {
    await web.page.evaluate(() => {
      (document.activeElement as HTMLElement | null)?.blur();
      window.scrollTo(0, 0);
    });
    const wanted = await web.page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>('button, input, select, textarea, #messages')]
        .filter((element) => element.checkVisibility() && !element.matches(':disabled'))
        .map(({id, textContent}) => id || textContent),
    );
    await web.page.focus('.skip');
    const reached: string[] = [];
    const unseen: string[] = [];
    for (let press = 0; press < 60; press++) {
      await web.page.keyboard.press('Tab');
      const {name, isSeen} = await web.page.evaluate(() => {
        const element = document.activeElement as HTMLElement;
        const {outlineStyle, outlineWidth} = getComputedStyle(element);
        return {
          name: element.id || element.textContent,
          isSeen: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2,
        };
      });
      if (reached.includes(name)) break;
      reached.push(name);
      if (!isSeen) unseen.push(name);
      if (name === wanted[wanted.length - 1]) break;
    }
    expect(reached.filter((name) => wanted.includes(name))).to.deep.equal(wanted);
    expect(unseen).to.deep.equal([]);
  });

  for (const scheme of ['light', 'dark']) {
    it(`has enough contrast in its ${scheme} theme`, async () => {
      await web.page.emulateMediaFeatures([{name: 'prefers-color-scheme', value: scheme}]);
      const ground = await web.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      expect(ground).to.equal(scheme === 'light' ? 'rgb(246, 245, 241)' : 'rgb(18, 20, 24)');
      expect(await contrast.poorContrasts()).to.deep.equal([]);
    });
  }

  it('fits a phone: no width is left out at 360 pixels, and nothing of it is too small to touch', async () => {
    await web.page.setViewport({width: 360, height: 740, hasTouch: true, isMobile: true});
    try {
      const {width, wide, small} = await web.page.evaluate(() => ({
        width: document.documentElement.scrollWidth,
        wide: [...document.querySelectorAll('main *')]
          .filter((element) => element.checkVisibility() && element.closest('.scroll') === null)
          .filter((element) => element.getBoundingClientRect().right > 360)
          .map(({id, localName}) => `${localName}#${id}`),
        small: [...document.querySelectorAll('main button, main input, main select, main textarea')]
          .filter((element) => element.checkVisibility())
          .filter(
            (element) => !element.matches('[type=checkbox]') && element.getBoundingClientRect().height < 24,
          )
          .map(({id}) => id),
      }));
      expect({width, wide, small}).to.deep.equal({width: 360, wide: [], small: []});
    } finally {
      await web.page.setViewport({width: 800, height: 600});
    }
  });

  it('works without a network after the first visit', async () => {
    await web.shows('offline', /^This page works offline now\.$/);
    web.site.offline = true;
    try {
      await web.page.reload();
      await web.shows('digit-answer', /^Dense and sparse both read/);
      await web.shows('offline', /^This page works offline now\.$/);
      expect(await web.page.evaluate(() => crossOriginIsolated)).to.equal(true);
      const tab = await web.openTab('/#own');
      const other = controls(() => tab);
      await other.shows('digit-answer', /^Dense and sparse both read/);
    } finally {
      web.site.offline = false;
    }
  });

  it('says why there is no language model beside it, and goes on without', async () => {
    await web.page.setBypassServiceWorker(true);
    web.site.put('/models/chat.json', JSON.stringify({reason: 'SmolLM2 could not be fetched'}));
    await web.page.reload();
    expect(await web.shows('chat-before', /^There is no/)).to.equal(
      'There is no language model beside this page: SmolLM2 could not be fetched. A .gguf file of yours can be loaded.',
    );
    expect(await web.page.$eval('#load-chat', (button) => (button as HTMLButtonElement).disabled)).to.equal(
      true,
    );
    await web.shows('digit-answer', /^Dense and sparse both read/);
  });
});
