/**
 * @file Trains the model in models/digits and writes it there, with samples of the held-out images:
 * `npm run train:digits`. Seeded; takes about 5 minutes with tfjs-node, half an hour with the wasm backend.
 */

import {parseArgs} from 'node:util';

import * as tf from '@tensorflow/tfjs';

import {loadBackend} from '../lib/backend/load.js';
import {saveLayersModel} from '../lib/io/model/model-files.js';
import {buildDigitsModel} from '../models/digits/architecture.js';
import {distort} from '../models/digits/augmentation.js';
import {IMAGE_PIXELS, loadDigits, type LabelledImages} from '../models/digits/data.js';
import {writeSamples} from '../models/digits/samples.js';
import {seededRandom, shuffledIndices, type Random} from '../lib/stats/seeded-random.js';

const HELP = `Trains the digits model: npm run train:digits -- [options]

  --epochs N   passes over the training images, each distorted anew (default 60)
  --seed N     of the initial weights, the order and the distortions (default 1)
  --out DIR    where the model and the samples are written (default models/digits)
`;

const BATCH_SIZE = 100;
const DROPOUT = 0.25;
const PEAK_LEARNING_RATE = 0.03;
const MOMENTUM = 0.9;
/** Shares of all steps: the rate rises during the first and falls as a cosine during the rest. */
const WARM_UP_SHARE = 0.05;

const {values: options} = parseArgs({
  options: {
    epochs: {type: 'string', default: '60'},
    seed: {type: 'string', default: '1'},
    out: {type: 'string', default: 'models/digits'},
    help: {type: 'boolean', default: false},
  },
});

if (options.help) {
  process.stdout.write(HELP);
} else {
  await train(Number(options.epochs), Number(options.seed), options.out);
}

async function train(epochs: number, seed: number, folder: string): Promise<void> {
  console.log(`backend: ${(await loadBackend()).name}`);
  const split = await loadDigits();
  console.log(
    `images: ${split.train.labels.length} train, ${split.calibration.labels.length} calibration, ` +
      `${split.test.labels.length} test`,
  );

  const trained = buildDigitsModel({dropout: DROPOUT, seed});
  const optimizer = tf.train.momentum(PEAK_LEARNING_RATE, MOMENTUM, true);
  trained.compile({optimizer, loss: 'sparseCategoricalCrossentropy'});
  const random = seededRandom(seed);
  const started = Date.now();
  for (let epoch = 0; epoch < epochs; epoch++) {
    const loss = await trainEpoch(trained, split.train, random, (batch, batches) => {
      optimizer.setLearningRate(learningRate((epoch + batch / batches) / epochs));
    });
    const seconds = Math.round((Date.now() - started) / 1000);
    console.log(`epoch ${epoch + 1}/${epochs}: training loss ${loss.toFixed(4)}, ${seconds} s`);
  }

  // The committed model has no dropout layers: they do nothing once training is over.
  const model = buildDigitsModel();
  model.setWeights(trained.getWeights());
  console.log(`accuracy on calibration images: ${percent(accuracy(model, split.calibration))}`);
  console.log(
    `accuracy on test images, seen by neither training nor calibration: ${percent(accuracy(model, split.test))}`,
  );
  await saveLayersModel(model, folder);
  await writeSamples(split, folder);
  console.log(`wrote ${folder}`);
}

/** One pass over the training images in a new order, distorted anew; returns the mean loss. */
async function trainEpoch(
  model: tf.LayersModel,
  {images, labels}: LabelledImages,
  random: Random,
  beforeBatch: (batch: number, batches: number) => void,
): Promise<number> {
  const distorted = distort(images, random);
  const order = shuffledIndices(labels.length, random);
  const batches = Math.floor(order.length / BATCH_SIZE);
  let lossSum = 0;
  for (let batch = 0; batch < batches; batch++) {
    beforeBatch(batch, batches);
    const rows = order.subarray(batch * BATCH_SIZE, (batch + 1) * BATCH_SIZE);
    const pixels = new Float32Array(BATCH_SIZE * IMAGE_PIXELS);
    rows.forEach((row, i) => {
      pixels.set(distorted.subarray(row * IMAGE_PIXELS, (row + 1) * IMAGE_PIXELS), i * IMAGE_PIXELS);
    });
    const x = tf.tensor2d(pixels, [BATCH_SIZE, IMAGE_PIXELS]);
    const y = tf.tensor1d(Float32Array.from(rows, (row) => labels[row]));
    const loss = await model.trainOnBatch(x, y);
    lossSum += Array.isArray(loss) ? loss[0] : loss;
    tf.dispose([x, y]);
  }
  return lossSum / batches;
}

/** The learning rate when `progress` of all steps, in [0, 1], are done. */
function learningRate(progress: number): number {
  if (progress < WARM_UP_SHARE) return (PEAK_LEARNING_RATE * Math.max(progress, 1e-3)) / WARM_UP_SHARE;
  return (
    (PEAK_LEARNING_RATE * (1 + Math.cos((Math.PI * (progress - WARM_UP_SHARE)) / (1 - WARM_UP_SHARE)))) / 2
  );
}

function accuracy(model: tf.LayersModel, {images, labels}: LabelledImages): number {
  return tf.tidy(() => {
    const output = model.predict(tf.tensor2d(images, [labels.length, IMAGE_PIXELS])) as tf.Tensor2D;
    const predicted = output.argMax(1).dataSync();
    return labels.filter((label, i) => label === predicted[i]).length / labels.length;
  });
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}
