/** @file The page of models/web for specs: built once in a process, with a tiny language model in the place of SmolLM2. */
import {mkdtempSync, readdirSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import type {Page} from 'puppeteer-core';
import {compressWeights, sparsifyActivations} from '../../../lib/index.js';
import {PROJECTIONS, attachMetadata, metadataOf, type LanguageModel} from '../../../lib/language/index.js';
import {buildPage} from '../../../scripts/web/build-page.js';
import {inBrowser, type PageOptions, type PageUnderTest} from '../browser/in-browser.js';
import {loadTiny, printableText} from '../language/tiny-language-models.js';

const folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-page-'));
let building: Promise<LanguageModel> | undefined;

process.once('exit', () => rmSync(folder, {recursive: true}));

/** The name of the tiny model's weight file; there once the page is built. */
export function tinyWeights(): string {
  return readdirSync(join(folder, 'models', 'chat')).find((name) => name.endsWith('.bin'))!;
}

/** A page under test, with the language model that lies beside it as Node has it. */
export interface WebPage extends PageUnderTest {
  readonly lm: LanguageModel;
  /** The element of an id, and what it shows. */
  text(id: string): Promise<string>;
  /** Waits until the element of an id shows what fits. */
  shows(id: string, expected: RegExp): Promise<string>;
  click(id: string): Promise<void>;
  /** Moves a slider, as the arrow keys do. */
  slide(id: string, value: number): Promise<void>;
}

/** Builds the page and opens it for the specs of a `describe`, in which this is called. */
export function webPage(options: PageOptions = {}): WebPage {
  let lm: LanguageModel;
  before(async () => {
    lm = await (building ??= buildWithTiny());
  });
  const opened = inBrowser({...options, folders: {'/': folder}});
  return {
    ...controls(() => opened.page),
    get lm() {
      return lm;
    },
    get site() {
      return opened.site;
    },
    get page() {
      return opened.page;
    },
    in: (file) => opened.in(file),
    inWorker: (file) => opened.inWorker(file),
    takeErrors: () => opened.takeErrors(),
    openTab: (path) => opened.openTab(path),
  };
}

/** What a visitor reads and presses on a page. */
export function controls(page: () => Page): Pick<WebPage, 'text' | 'shows' | 'click' | 'slide'> {
  const text = (id: string) => page().$eval(`#${id}`, (element) => element.textContent.trim());
  return {
    text,
    async shows(id, expected) {
      await page()
        .waitForFunction(
          (id: string, source: string, flags: string) =>
            new RegExp(source, flags).test(document.getElementById(id)!.textContent.trim()),
          {timeout: 30_000, polling: 50}, // a tab behind another one draws no frames
          id,
          expected.source,
          expected.flags,
        )
        .catch(async (cause: unknown) => {
          const alerts = await page().$$eval('[role=alert]', (elements) =>
            elements.map(({textContent}) => textContent).join(' '),
          );
          throw new Error(
            `#${id} shows "${await text(id)}", never ${expected}; alerts: ${alerts.trim() || 'none'}`,
            {cause},
          );
        });
      return text(id);
    },
    // By the element itself: what appears above it meanwhile would move it away from a pointer.
    click: (id) =>
      page().$eval(`#${id}`, (element) => {
        if (!element.checkVisibility()) throw new Error(`#${element.id} is not to be seen`);
        if (element.matches(':disabled')) throw new Error(`#${element.id} cannot be pressed now`);
        (element as HTMLElement).click();
      }),
    slide: (id, value) =>
      page().$eval(
        `#${id}`,
        (element, value) => {
          (element as HTMLInputElement).value = String(value);
          element.dispatchEvent(new Event('input', {bubbles: true}));
        },
        value,
      ),
  };
}

/** Messages one after the other, as no model was trained; enough to be told apart. */
const TEMPLATE = '{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}';

async function buildWithTiny(): Promise<LanguageModel> {
  const tiny = await loadTiny();
  const data = tiny.dataset(printableText(1024, 5), {sequenceLength: 64, sequences: 16});
  const sparse = await sparsifyActivations(tiny.model, data, {
    targetSparsityByScope: {[PROJECTIONS.all]: 0.5},
    saveStatistics: true,
  });
  const model = await compressWeights(sparse);
  sparse.dispose();
  const {config, tokenizer} = metadataOf(model);
  attachMetadata(model, {
    config,
    tokenizer: {...tokenizer!, config: {...tokenizer!.config, chat_template: TEMPLATE}},
  });
  const lm = tiny.withModel(model);
  tiny.dispose();
  const saved = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-tiny-'));
  try {
    await lm.save(saved);
    await buildPage({folder, chat: {name: 'Tiny', folder: saved}});
  } finally {
    rmSync(saved, {recursive: true});
  }
  return lm;
}
