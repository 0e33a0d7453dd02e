/**
 * @file The doors of the packed package in applications that vite and esbuild bundle without any configuration: what they load
 * beside the page's own modules, the worker of language models and its binaries, is found wherever the bundle lies.
 */
import type {ChildProcess} from 'node:child_process';
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect} from 'chai';
import type {Page} from 'puppeteer-core';
import {inBrowser} from '../support/browser/in-browser.js';
import {packedApp} from '../support/browser/packed-app.js';
import {loadTiny} from '../support/language/tiny-language-models.js';

const INDEX =
  '<!doctype html><html lang="en"><title>app</title><script type="module" src="./app.js"></script></html>';

/** The input above the threshold is 3: what is left is its row of the kernel, without the row of Infinity, which would give NaN. */
const APP = `
import * as tf from '@tensorflow/tfjs';
import {setWasmPaths} from '@tensorflow/tfjs-backend-wasm';
import {sparsifiedMatMul} from 'tfjs-sparsify';
import {loadLanguageModel} from 'tfjs-sparsify/language';
import {registerWasmKernels} from 'tfjs-sparsify/wasm';

async function run() {
  setWasmPaths('/wasm/');
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
  await tf.setBackend('wasm');
  await registerWasmKernels({threads: 2});
  const x = tf.tensor2d([[-0.5, 3]]);
  const kernel = tf.tensor2d([[10, 20], [Infinity, 2]]);
  const y = sparsifiedMatMul(x, tf.reverse(kernel, 0), tf.scalar(1));

  const lm = await loadLanguageModel('/tiny', {worker: WORKER});
  const {tokens} = await lm.generate('Once upon', {maxTokens: 12, temperature: 0});
  lm.dispose();
  return {y: [...(await y.data())], tokens};
}
globalThis.answer = run();
`;

/** For a page whose policy allows no workers from blobs: the URL of the package's own file, which vite lays beside the bundle. */
const WORKER_BY_URL = `
import url from 'tfjs-sparsify/language/worker?url';
const WORKER = document.querySelector('meta[http-equiv]') === null ? undefined : url;
`;
const POLICY = `<meta http-equiv="Content-Security-Policy" content="worker-src 'self'">`;

describe('an application that has installed the package', () => {
  const app = packedApp();
  let tokens: readonly number[];

  before(async function () {
    this.timeout(300_000);
    app.write('index.html', INDEX);
    app.write('app.js', WORKER_BY_URL + APP);
    app.write('plain.js', `const WORKER = undefined;${APP}`);
    app.writeWasmBinaries();
    const lm = await loadTiny();
    await lm.save(join(app.path, 'public', 'tiny'));
    ({tokens} = await lm.generate('Once upon', {maxTokens: 12, temperature: 0}));
    lm.dispose();
  });

  const answerOf = (page: Page) => page.evaluate('globalThis.answer');

  describe('and is built by vite', () => {
    before(async () => {
      await app.run('vite', 'build');
    });
    const pages = inBrowser({folders: () => ({'/': join(app.path, 'dist')})});

    it('finds all that it needs', async () => {
      expect(await answerOf(pages.page)).to.deep.equal({y: [30, 60], tokens});
    });
  });

  describe('and is built by vite, in a page that forbids workers from blobs', () => {
    const pages = inBrowser({folders: () => ({'/': join(app.path, 'dist')})});

    it('finds the worker by its URL', async () => {
      const html = readFileSync(join(app.path, 'dist', 'index.html'), 'utf8');
      pages.site.put('/strict.html', html.replace('<title>', `${POLICY}<title>`));
      await pages.page.goto(`${pages.site.url}/strict.html`);
      expect(await answerOf(pages.page)).to.deep.equal({y: [30, 60], tokens});
    });
  });

  describe('and is served by vite as it stands', () => {
    let server: ChildProcess;
    let url = '';
    before(async () => {
      server = app.start('vite', '--host', '127.0.0.1', '--port', '0');
      url = await firstMatch(server, /http:\/\/127\.0\.0\.1:\d+/);
    });
    after(() => server?.kill());
    const pages = inBrowser();

    it('finds all that it needs', async () => {
      await pages.page.goto(url);
      expect(await answerOf(pages.page)).to.deep.equal({y: [30, 60], tokens});
    });
  });

  describe('and is bundled by esbuild', () => {
    before(async () => {
      app.write('bundled/index.html', INDEX);
      await app.run('esbuild', 'plain.js', '--bundle', '--format=esm', '--outfile=bundled/app.js');
    });
    const pages = inBrowser({
      folders: () => ({
        '/': join(app.path, 'bundled'),
        '/tiny': join(app.path, 'public', 'tiny'),
        '/wasm': join(app.path, 'public', 'wasm'),
      }),
    });

    it('finds all that it needs', async () => {
      expect(await answerOf(pages.page)).to.deep.equal({y: [30, 60], tokens});
    });
  });
});

/** The first text that a program prints and that a pattern matches. */
async function firstMatch({stdout}: ChildProcess, pattern: RegExp): Promise<string> {
  let printed = '';
  for await (const chunk of stdout!) {
    printed += String(chunk);
    const match = pattern.exec(printed);
    if (match !== null) return match[0];
  }
  throw new Error(`it ended before it printed ${pattern}: ${printed}`);
}
