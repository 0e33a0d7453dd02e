import {fileURLToPath} from 'node:url';

import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';

import {openDataFile} from '../../../lib/io/data/data-files.js';
import {readLabels} from '../../../lib/io/data/labels.js';
import {loadLayersModel} from '../../../lib/io/model/model-files.js';
import {seededRandom} from '../../../lib/stats/seeded-random.js';
import {distort} from '../../../models/digits/augmentation.js';
import {
  CALIBRATION_COUNT,
  IMAGE_PIXELS,
  loadDigits,
  TEST_COUNT,
  toBytes,
  type DigitsSplit,
  type LabelledImages,
} from '../../../models/digits/data.js';
import {checkForLeaks} from '../../support/backends.js';

function modelFile(name: string): string {
  return fileURLToPath(new URL(`../../../models/digits/${name}`, import.meta.url));
}

describe('the digits', () => {
  let split: DigitsSplit;
  before(async () => {
    split = await loadDigits();
  });

  it('are split 7,000, 1,000 and 2,000', () => {
    expect(split.train.labels).to.have.length(7000);
    expect(split.calibration.labels).to.have.length(CALIBRATION_COUNT);
    expect(split.test.labels).to.have.length(TEST_COUNT);
    expect(split.test.images).to.have.length(TEST_COUNT * IMAGE_PIXELS);
  });

  it('have no image in two sets, nor twice in one', () => {
    const seen = new Set<string>();
    for (const {images, labels} of Object.values(split) as LabelledImages[]) {
      const bytes = toBytes(images);
      labels.forEach((_, i) => {
        seen.add(Buffer.from(bytes.subarray(i * IMAGE_PIXELS, (i + 1) * IMAGE_PIXELS)).toString('latin1'));
      });
    }
    expect(seen.size).to.equal(10_000);
  });

  it('show every digit in every set', () => {
    for (const {labels} of Object.values(split) as LabelledImages[]) {
      expect([...new Set(labels)].sort()).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
  });

  it('are split the same way every time', async () => {
    expect((await loadDigits()).test.labels).to.deep.equal(split.test.labels);
  });

  it('are the bytes of which they were made, divided by 255', () => {
    const {images} = split.calibration;
    expect(Float32Array.from(toBytes(images), (byte) => byte / 255)).to.deep.equal(images);
  });

  for (const [name, set] of [
    ['calibration', () => split.calibration],
    ['test', () => split.test],
  ] as const) {
    it(`agree with the ${name} sample beside the model`, async () => {
      const labels = await readLabels(modelFile(`${name}-labels.npy`));
      const count = labels.shape[0];
      expect(labels.values).to.deep.equal(set().labels.subarray(0, count));
      const batches = openDataFile(modelFile(`${name}-images.npy`), {batchSize: count});
      for await (const batch of batches) {
        const bytes = Uint8Array.from((batch as tf.Tensor).dataSync());
        expect(Buffer.compare(bytes, toBytes(set().images.subarray(0, count * IMAGE_PIXELS)))).to.equal(0);
        tf.dispose(batch);
      }
    });
  }

  it('are distorted differently by each seed, the same by equal ones, and stay in [0, 1]', () => {
    const some = split.train.images.subarray(0, 20 * IMAGE_PIXELS);
    const distorted = distort(some, seededRandom(1));
    expect(distort(some, seededRandom(1))).to.deep.equal(distorted);
    expect(distort(some, seededRandom(2))).to.not.deep.equal(distorted);
    expect(distorted.every((value) => value >= 0 && value <= 1)).to.equal(true);
  });
});

describe('the digits model', () => {
  checkForLeaks();
  before(() => tf.setBackend('wasm'));

  it('reads at least 97 % of the 2,000 test images right', async () => {
    const {test} = await loadDigits();
    const model = await loadLayersModel(modelFile('model.json'));
    const right = tf.tidy(() => {
      const output = model.predict(tf.tensor2d(test.images, [TEST_COUNT, IMAGE_PIXELS]), {batchSize: 500});
      const predicted = (output as tf.Tensor2D).argMax(1).dataSync();
      return test.labels.filter((label, i) => label === predicted[i]).length;
    });
    expect(right / TEST_COUNT).to.be.at.least(0.97);
    expect(model.layers.map(({name}) => name)).to.deep.equal(['pixels', 'hidden_1', 'hidden_2', 'digits']);
    model.dispose();
  });
});
