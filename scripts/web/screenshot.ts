/** @file A picture of the page for its guide: a digit that was read, and a question that was answered dense and sparse. */
import {launch, type Page} from 'puppeteer-core';
import {findBrowser} from '../set-up/browser.js';
import {servePage} from './serve-page.js';

const WIDTH = 880;
const QUESTION = 'Tell me about the moon in two sentences.';
/** A machine that does much else takes its time. */
const TIMEOUT_MS = 120_000;

/**
 * Serves the page, uses it, and writes what it shows.
 *
 * @param folder Where the page was built.
 * @param path Of the PNG.
 * @throws {Error} if there is no Chromium, or the page shows something else than it should.
 */
export async function takeScreenshot(folder: string, path: string): Promise<void> {
  const executablePath = findBrowser('chrome');
  if (executablePath === undefined)
    throw new Error('there is no Chromium or Chrome to take the picture with');
  const served = await servePage(folder, 0);
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  const browser = await launch({executablePath, args});
  try {
    const page = await browser.newPage();
    await page.setViewport({width: WIDTH, height: 800});
    await page.emulateMediaFeatures([{name: 'prefers-color-scheme', value: 'light'}]);
    await page.goto(served.url);
    await shows(page, 'digit-latency');
    await page.click('#load-chat');
    await shows(page, 'chat-bytes');
    await page.$eval(
      '#question',
      (area, text) => {
        (area as HTMLTextAreaElement).value = text;
      },
      QUESTION,
    );
    await page.$eval('#compare', (button) => (button as HTMLElement).click());
    await page.waitForFunction(() => document.getElementById('chat-speed')!.textContent.startsWith('Dense'), {
      timeout: TIMEOUT_MS,
    });
    const height = await page.$eval('#messages', (log) => log.getBoundingClientRect().bottom + scrollY + 8);
    await page.screenshot({path: path, clip: {x: 0, y: 0, width: WIDTH, height}});
  } finally {
    await browser.close();
    await served.close();
  }
}

function shows(page: Page, id: string): Promise<unknown> {
  return page.waitForFunction(
    (id: string) => document.getElementById(id)!.textContent !== '',
    {timeout: TIMEOUT_MS},
    id,
  );
}
