/**
 * @file A model of Dense layers is sparsified on real images, measured on others, saved, and loaded by TensorFlow.js.
 *
 * Usage: npm run build && node scripts/examples/layers-model.mjs
 */
import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import * as tf from '@tensorflow/tfjs';
import {Dataset, inspect, registerLayers, sparsifyActivations} from 'tfjs-sparsify';
import {
  fileSystem,
  loadBackend,
  loadLayersModel,
  openDataFile,
  readLabels,
  saveLayersModel,
} from 'tfjs-sparsify/node';

const digits = (name) => fileURLToPath(new URL(`../../models/digits/${name}`, import.meta.url));
const images = (name) =>
  new Dataset(openDataFile(digits(name), {batchSize: 100, scale: 1 / 255}), null, {disposeItems: true});

/** The share of the test images whose digit a model reads right. */
async function accuracy(model) {
  const {values: labels} = await readLabels(digits('test-labels.npy'));
  let right = 0;
  let done = 0;
  for await (const batch of images('test-images.npy').getInferenceData()) {
    const guesses = tf.tidy(() => model.predict(batch).argMax(-1).dataSync());
    for (const guess of guesses) right += guess === labels[done++] ? 1 : 0;
  }
  return right / done;
}

const percent = (share) => `${(100 * share).toFixed(2)} %`;

await loadBackend();
const dense = await loadLayersModel(digits('model.json'));
const sparse = await sparsifyActivations(dense, images('calibration-images.npy'), {
  targetSparsityByScope: {'hidden_.*': 0.5},
});
for (const {path, target} of inspect(sparse))
  console.log(`${path}: target ${target ?? 'none, it stays dense'}`);
console.log(`accuracy: dense ${percent(await accuracy(dense))}, sparse ${percent(await accuracy(sparse))}`);

const folder = await mkdtemp(join(tmpdir(), 'tfjs-sparsify-example-'));
try {
  await saveLayersModel(sparse, folder);
  registerLayers(); // once; after that tf.loadLayersModel knows sparsified layers
  const loaded = await tf.loadLayersModel(fileSystem(folder));
  console.log(`accuracy of the saved model: ${percent(await accuracy(loaded))}`);
} finally {
  await rm(folder, {recursive: true});
}
