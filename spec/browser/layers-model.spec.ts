/**
 * @file A model of one's own in a page: scripts/examples/in-a-page.html as an application of vite runs it, which has installed
 * the packed package.
 */
import {cpSync, readFileSync} from 'node:fs';
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import type {ElementHandle} from 'puppeteer-core';
import {Dataset} from '../../lib/dataset.js';
import {measureSparsity} from '../../lib/eval/measure-sparsity.js';
import {openDataFile} from '../../lib/io/data/data-files.js';
import {loadLayersModel} from '../../lib/io/model/model-files.js';
import {registerLayers} from '../../lib/layers/registry.js';
import {inspect} from '../../lib/model/inspect.js';
import {ROOT} from '../support/guides.js';
import {inBrowser} from '../support/browser/in-browser.js';
import {packedApp} from '../support/browser/packed-app.js';

const IMAGES = join(ROOT, 'models/digits/calibration-images.npy');
const LAYERS = ['hidden_1', 'hidden_2'];

describe('the example of a page', () => {
  const app = packedApp();
  before(async function () {
    this.timeout(300_000);
    app.write('index.html', readFileSync(join(ROOT, 'scripts/examples/in-a-page.html'), 'utf8'));
    cpSync(join(ROOT, 'models/digits'), join(app.path, 'public', 'digits'), {recursive: true});
    app.writeWasmBinaries();
    await app.run('vite', 'build');
  });
  const pages = inBrowser({folders: () => ({'/': join(app.path, 'dist')})});
  /** What the page says of the inputs that a layer leaves out, in percent, of the last 100 images. */
  const sharesInPage = async (): Promise<number[]> => {
    const log = await pages.page.$eval('#log', ({textContent}) => textContent);
    return LAYERS.map((layer) => Number(new RegExp(`^${layer}: (\\S+) %`, 'm').exec(log)?.[1]));
  };

  it('calibrates, makes the weights INT8, measures, and loads what IndexedDB has kept', async () => {
    await pages.page.waitForSelector('#download:enabled');
    const log = await pages.page.$eval('#log', ({textContent}) => textContent);
    // The target is 50 % of what calibration saw; other images of the same kind differ by some percent.
    for (const share of await sharesInPage()) expect(share, log).to.be.closeTo(50, 5);
    expect(log).to.match(/^loaded again: the largest difference of its predictions is 0$/m);
  });

  it('gives a download that the page and Node load, with its thresholds and weights', async () => {
    const session = await pages.page.createCDPSession();
    const downloadPath = join(app.path, 'downloads');
    await session.send('Browser.setDownloadBehavior', {
      behavior: 'allow',
      downloadPath,
      eventsEnabled: true,
    });
    const finished = new Promise<void>((resolve) => {
      let files = 0;
      session.on('Browser.downloadProgress', ({state}) => {
        if (state === 'completed' && ++files === 2) resolve();
      });
    });
    await pages.page.click('#download');
    await finished;
    const input = (await pages.page.$('input[type=file]')) as ElementHandle<HTMLInputElement>;
    const names = ['sparse-digits.json', 'sparse-digits.weights.bin'];
    await input.uploadFile(...names.map((name) => join(downloadPath, name)));
    await pages.page.waitForFunction(
      "document.querySelector('#log').textContent.split(' is 0\\n').length === 3",
    );
    registerLayers();
    const loaded = await loadLayersModel(join(downloadPath, 'sparse-digits.json'));
    const reports = inspect(loaded);
    expect(reports.map(({path, target, format}) => ({path, target, format}))).to.deep.equal([
      {path: 'hidden_1', target: 0.5, format: 'int8_asym'},
      {path: 'hidden_2', target: 0.5, format: 'int8_asym'},
      {path: 'digits', target: null, format: 'int8_asym'},
    ]);
    const batches = openDataFile(IMAGES, {batchSize: 100, scale: 1 / 255});
    const lastBatch = async function* () {
      let index = 0;
      for await (const batch of batches) {
        if (++index === 5) yield batch;
        else tf.dispose(batch);
      }
    };
    const measured = await measureSparsity(loaded, new Dataset(lastBatch, null, {disposeItems: true}));
    loaded.dispose();
    const shares = await sharesInPage();
    for (const [i, {path, actual}] of measured.entries()) {
      // The page's figure has one decimal.
      expect(100 * actual, path).to.be.closeTo(shares[i], 0.05 + 1e-9);
    }
    expect(measured.map(({path}) => path)).to.deep.equal(LAYERS);
  });
});
