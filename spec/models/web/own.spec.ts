/** @file The panel that sparsifies a visitor's own model: what it makes is what Node makes, and Node loads what it gives. */
import {mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import type {ElementHandle} from 'puppeteer-core';
import {inspect, openDataBlob, registerLayers, retarget, sparsifyActivations} from '../../../lib/index.js';
import {loadLayersModel} from '../../../lib/io/model/model-files.js';
import {BACKENDS} from '../../support/backends.js';
import {ROOT} from '../../support/guides.js';
import {webPage} from '../../support/web/web-page.js';

const DIGITS = join(ROOT, 'models', 'digits');
const DATA = join(DIGITS, 'calibration-images.npy');
const WEIGHTS = readdirSync(DIGITS).find((name) => name.endsWith('.bin'))!;

/** Sums of float32 on another backend, in another order. */
const CLOSE = 1e-3;

describe("the panel of the page for a model of one's own", () => {
  const web = webPage();
  const folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-own-'));
  let dense: tf.LayersModel;
  let sparse: tf.LayersModel;

  before(async () => {
    await tf.setBackend(BACKENDS[BACKENDS.length - 1]);
    registerLayers();
    dense = await loadLayersModel(join(DIGITS, 'model.json'));
    const data = openDataBlob(new Blob([readFileSync(DATA)]), DATA, {batchSize: 64, scale: 1 / 255});
    sparse = await sparsifyActivations(dense, data, {targetSparsityByScope: {'.*': 0.5}});
  });
  after(() => {
    for (const model of [dense, sparse]) model?.dispose();
    rmSync(folder, {recursive: true});
  });

  const choose = async (id: string, ...paths: string[]) => {
    const input = (await web.page.$(`#${id}`)) as ElementHandle<HTMLInputElement>;
    await input.uploadFile(...paths);
  };
  const column = (place: number) =>
    web.page.$$eval(
      '#own-layers tr',
      (rows, place) => rows.map((row) => row.children[place].textContent),
      place,
    );
  const [PATH, SIZE, MASKED, THRESHOLD] = [0, 5, 6, 7];

  it('inspects a model from its files', async () => {
    await choose('model-files', join(DIGITS, 'model.json'), join(DIGITS, WEIGHTS));
    await web.shows('own-status', /^The model is loaded\.$/);
    expect(await column(PATH)).to.deep.equal(['hidden_1', 'hidden_2', 'digits']);
    expect(await column(SIZE)).to.deep.equal(['1.61 MB', '1.05 MB', '20.5 KB']); // inputs x units x 4 bytes
    expect(await column(MASKED)).to.deep.equal(['-', '-', '-']);
    expect(await web.text('own-caption')).to.include('672,842 weights');
  });

  it('sparsifies it on a file of data, with the thresholds that Node finds', async () => {
    await choose('data-file', DATA);
    await web.page.select('#data-scale', '1/255');
    await web.click('own-sparsify');
    await web.shows('own-result', /^Sparsified on calibration-images\.npy\./);
    const shown = (await column(THRESHOLD)).map(Number);
    for (const [i, {threshold}] of inspect(sparse).entries()) {
      expect(shown[i]).to.be.closeTo(threshold!, 0.01 * threshold!);
    }
    for (const masked of await column(MASKED)) expect(parseFloat(masked)).to.be.closeTo(50, 1);
  });

  it('takes other targets from the slider at once', async () => {
    await web.slide('own-sparsity', 80);
    const shown = (await column(THRESHOLD)).map(Number);
    for (const [i, {threshold}] of retarget(sparse, {'.*': 0.8}).entries()) {
      expect(shown[i]).to.be.closeTo(threshold!, 0.01 * threshold!);
    }
  });

  it('measures it, and says which is faster', async () => {
    await web.click('own-bench');
    const said = await web.shows('own-result', /a sample: medians of \d+ turns/);
    expect(said).to.match(/Sparse is (not faster here|[\d.]+ times as fast)/);
  });

  it('gives a download that Node loads, which predicts the same', async () => {
    const session = await web.page.createCDPSession();
    await session.send('Browser.setDownloadBehavior', {
      behavior: 'allow',
      downloadPath: folder,
      eventsEnabled: true,
    });
    const names = new Set<string>();
    const both = new Promise<void>((resolve) => {
      session.on('Browser.downloadProgress', ({guid, state}) => {
        if (state === 'completed') names.add(guid);
        if (names.size === 2) resolve();
      });
    });
    await web.click('own-download');
    await both;
    expect(readdirSync(folder).sort()).to.deep.equal(['model.json', 'model.weights.bin']);
    const loaded = await loadLayersModel(folder);
    const image = tf.randomUniform([4, 784], 0, 1, 'float32', 3);
    const [expected, got] = [sparse, loaded].map((model) =>
      tf.tidy(() => Array.from((model.predict(image) as tf.Tensor).dataSync())),
    );
    for (const [i, value] of expected.entries()) expect(got[i]).to.be.closeTo(value, CLOSE);
    tf.dispose(image);
    loaded.dispose();
  });

  it('makes the weights INT8 and sparsifies on random numbers', async () => {
    await web.click('own-int8');
    await web.page.$eval('#data-file', (input) => {
      (input as HTMLInputElement).value = '';
    });
    await web.click('own-sparsify');
    await web.shows('own-result', /^Sparsified on random numbers: that shows speed/);
    // A byte a weight, and a scale and a zero point (float32 each) a unit.
    const sizes = [
      [784, 512],
      [512, 512],
      [512, 10],
    ].map(([inputs, units]) => inputs * 4 * Math.ceil(units / 4) + 8 * units);
    const shown = (await column(SIZE)).map((size) => parseFloat(size) * (size.endsWith('KB') ? 1e3 : 1));
    for (const [i, size] of sizes.entries()) expect(shown[i]).to.be.closeTo(size, 0.01 * size);
  });

  it('loads a model by its URL', async () => {
    await web.page.$eval('#model-url', (input) => {
      (input as HTMLInputElement).value = '/models/digits/model.json';
    });
    await web.page.focus('#model-url');
    await web.page.keyboard.press('Enter');
    await web.page.waitForFunction(
      () => document.querySelector('#own-layers td:nth-child(7)')!.textContent === '-',
    );
    expect(await column(PATH)).to.deep.equal(['hidden_1', 'hidden_2', 'digits']);
  });

  describe('says what is wrong with', () => {
    const file = (name: string, content: string) => {
      const path = join(folder, name);
      writeFileSync(path, content);
      return path;
    };
    for (const [what, paths, expected] of [
      [
        'a model without its weights',
        () => [join(DIGITS, 'model.json')],
        `names ${WEIGHTS}, which is not among the files`,
      ],
      [
        'weights without their model',
        () => [join(DIGITS, WEIGHTS)],
        'One model.json is needed, there is none',
      ],
      ['what is not JSON', () => [file('cut.json', '{"modelTop')], 'cut.json is not JSON'],
      ['other JSON', () => [file('other.json', '{"a": 1}')], 'other.json is no model of TensorFlow.js'],
      ['a graph model', () => [file('graph.json', '{"format": "graph-model"}')], 'tfjs_layers_model'],
    ] as const) {
      it(what, async () => {
        await choose('model-files', ...paths());
        await web.page.waitForFunction(
          (text: string) => document.getElementById('own-error')!.textContent.includes(text),
          {timeout: 10_000},
          expected,
        );
        expect(web.takeErrors()).to.have.length.greaterThan(0);
        expect(await column(PATH)).to.have.length(3); // the model before it is still there
      });
    }

    it('data of another shape', async () => {
      await choose('data-file', file('data.json', '[[1, 2, 3]]'));
      await web.click('own-sparsify');
      await web.page.waitForFunction(() => document.getElementById('own-error')!.textContent.includes('784'));
      expect(web.takeErrors()).to.have.length.greaterThan(0);
    });

    it('a host that the page may not ask', async () => {
      await web.page.$eval('#model-url', (input) => {
        (input as HTMLInputElement).value = 'https://models.example.org/model.json';
      });
      await web.page.focus('#model-url');
      await web.page.keyboard.press('Enter');
      await web.page.waitForFunction(() =>
        document
          .getElementById('own-error')!
          .textContent.includes('npm run web -- --allow https://models.example.org'),
      );
      expect(web.takeErrors().join()).to.include('Content Security Policy');
    });
  });
});
