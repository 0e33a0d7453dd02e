/** @file The panel that reads a digit: what it shows is what the model computes in Node. */
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {inspect, openDataBlob, retarget, sparsifyActivations} from '../../../lib/index.js';
import {loadLayersModel} from '../../../lib/io/model/model-files.js';
import {BACKENDS} from '../../support/backends.js';
import {ROOT} from '../../support/guides.js';
import {webPage} from '../../support/web/web-page.js';

const DIGITS = join(ROOT, 'models', 'digits');
const images = (name: string) =>
  openDataBlob(new Blob([readFileSync(join(DIGITS, name))]), name, {batchSize: 100, scale: 1 / 255});

/** Activations next to a threshold may round to either side on another backend. */
const ROWS_OFF = 3;

describe('the digit panel of the page', () => {
  const web = webPage();
  let dense: tf.LayersModel;
  let sparse: tf.LayersModel;
  let test: tf.Tensor2D;

  before(async () => {
    await tf.setBackend(BACKENDS[BACKENDS.length - 1]);
    dense = await loadLayersModel(join(DIGITS, 'model.json'));
    sparse = await sparsifyActivations(dense, images('calibration-images.npy'), {
      targetSparsityByScope: {'.*': 0.5},
    });
    for await (const batch of images('test-images.npy')) {
      test = batch as tf.Tensor2D;
      break;
    }
  });
  after(() => {
    for (const model of [dense, sparse]) model?.dispose();
    test?.dispose();
  });

  /** Probabilities [10] of a test image, from 1 on. */
  const predicted = (model: tf.LayersModel, place: number) =>
    tf.tidy(() => Array.from((model.predict(test.slice([place - 1, 0], [1, 784])) as tf.Tensor).dataSync()));
  const percents = (column: 'dense' | 'sparse') =>
    web.page.$$eval(`#probabilities .${column}`, (cells) =>
      cells.map((cell) => parseFloat(cell.textContent)),
    );
  const likeliest = (values: readonly number[]) => values.indexOf(Math.max(...values));

  /** Rows that each layer reads for a test image, by the definition: inputs over the threshold in magnitude. */
  const rowsRead = (place: number) =>
    tf.tidy(() => {
      let x: tf.Tensor = test.slice([place - 1, 0], [1, 784]);
      const read: number[] = [];
      for (const layer of sparse.layers) {
        const report = inspect(sparse).find(({path}) => path === layer.name);
        if (report !== undefined) {
          read.push(x.dataSync<'float32'>().filter((value) => Math.abs(value) > report.threshold!).length);
        }
        x = layer.apply(x) as tf.Tensor;
      }
      return read;
    });
  const rowsShown = async () =>
    (await web.text('layers')).match(/(\d+) of/g)!.map((count) => parseInt(count, 10));

  it('reads a test image as the model does, dense and sparse', async () => {
    const [ofDense, ofSparse] = [predicted(dense, 1), predicted(sparse, 1)];
    await web.shows('digit-answer', new RegExp(`both read a ${likeliest(ofDense)}\\.`));
    for (const [column, values] of [
      ['dense', ofDense],
      ['sparse', ofSparse],
    ] as const) {
      const shown = await percents(column);
      for (const [digit, value] of values.entries())
        expect(shown[digit], `${column} ${digit}`).to.be.closeTo(100 * value, 0.2);
    }
  });

  it('shows the rows that each layer reads', async () => {
    expect(await web.text('layers')).to.match(
      /^hidden_1: \d+ of 784 rows readhidden_2: \d+ of 512 rows readdigits: \d+ of 512 rows read$/,
    );
    const [shown, expected] = [await rowsShown(), rowsRead(1)];
    for (const [i, rows] of expected.entries()) expect(shown[i]).to.be.closeTo(rows, ROWS_OFF);
    // As many squares have the colour of a row that is read.
    const squares = await web.page.$eval('#layers canvas', (canvas) => {
      const context = canvas.getContext('2d')!;
      const colour = getComputedStyle(document.body).getPropertyValue('--sparse').trim();
      let read = 0;
      for (let row = 0; row < 784; row++) {
        const [r, g, b] = context.getImageData((row % 28) * 8 + 2, Math.floor(row / 28) * 8 + 2, 1, 1).data;
        const hex = `#${[r, g, b].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
        read += hex === colour ? 1 : 0;
      }
      return read;
    });
    expect(squares).to.equal(shown[0]);
  });

  for (const share of [0.9, 0]) {
    it(`takes a sparsity of ${100 * share} % from the slider at once`, async () => {
      retarget(sparse, {'.*': share});
      const expected = rowsRead(1);
      await web.slide('digit-sparsity', 100 * share);
      expect(await web.text('digit-sparsity-value')).to.equal(`${100 * share} %`);
      await web.shows(
        'layers',
        new RegExp(`^hidden_1: (${expected[0]}|${expected[0] + 1}|${expected[0] - 1}) of`),
      );
      const shown = await rowsShown();
      for (const [i, rows] of expected.entries()) expect(shown[i]).to.be.closeTo(rows, ROWS_OFF);
      const ofSparse = await percents('sparse');
      expect(ofSparse[likeliest(predicted(sparse, 1))]).to.be.closeTo(
        100 * Math.max(...predicted(sparse, 1)),
        1,
      );
    });
  }

  it('picks another test image by keyboard', async () => {
    await web.page.focus('#next-image');
    await web.page.keyboard.press('Enter');
    expect(await web.page.$eval('#test-image', (input) => (input as HTMLInputElement).value)).to.equal('2');
    await web.shows('digit-answer', new RegExp(`both read a ${likeliest(predicted(dense, 2))}\\.`));
    await web.page.focus('#test-image');
    await web.page.keyboard.press('ArrowUp');
    await web.page.keyboard.press('Tab');
    await web.shows('digit-answer', new RegExp(`read a ${likeliest(predicted(dense, 3))}`));
    expect(await web.text('shown')).to.match(/^It shows a \d; /);
  });

  /** Where an element is, the whole of it in sight: the page scrolls to what gets the focus, and grows as it loads. */
  const restingBox = async (id: string) => {
    const handle = (await web.page.$(`#${id}`))!;
    await handle.evaluate((element) => element.scrollIntoView({block: 'center', behavior: 'instant'}));
    let box = (await handle.boundingBox())!;
    for (let same = 0; same < 3;) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      const next = (await handle.boundingBox())!;
      same = next.x === box.x && next.y === box.y ? same + 1 : 0;
      box = next;
    }
    return box;
  };

  it('reads what is drawn', async () => {
    await web.click('clear');
    expect(await web.text('digit-answer')).to.include('The paper is empty');
    const box = await restingBox('drawing');
    const at = (x: number, y: number) => [box.x + x * box.width, box.y + y * box.height] as const;
    await web.page.mouse.move(...at(0.55, 0.15));
    await web.page.mouse.down();
    await web.page.mouse.move(...at(0.45, 0.85), {steps: 10});
    await web.page.mouse.up();
    await web.shows('digit-answer', /both read a 1\./);
  });

  it('says how long both take, and which is faster', async () => {
    const said = await web.shows('digit-latency', /^Dense .* predictions\./);
    const [, dense, sparse] = /^Dense ([\d.]+) ms, sparse ([\d.]+) ms/.exec(said)!.map(Number);
    const ratio = dense / sparse;
    if (ratio >= 1.04) expect(said).to.match(/Sparse is [\d.]+ times as fast\.$/);
    else if (ratio <= 1.02) expect(said).to.include('Sparse is not faster here');
  });
});
