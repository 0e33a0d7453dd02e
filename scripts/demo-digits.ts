/**
 * @file The main job on real input: the digits model of this repository is calibrated on real handwritten digits and
 * sparsified, then measured on digits that neither training nor calibration saw, saved, and loaded in another process.
 *
 * Usage: npm run demo:digits
 */
import {execFileSync} from 'node:child_process';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import * as tf from '@tensorflow/tfjs';
import {loadBackend} from '../lib/backend/load.js';
import {formatTable, percent} from '../lib/cli/text-table.js';
import {measureLatency} from '../lib/eval/latency.js';
import {measureQuality} from '../lib/eval/quality.js';
import {Dataset, inspect, measureSparsity, registerLayers, sparsifyActivations} from '../lib/index.js';
import {loadLayersModel, saveLayersModel} from '../lib/io/model/model-files.js';
import {IMAGE_PIXELS, loadDigits, type LabelledImages} from '../models/digits/data.js';

const HELP = `Usage: npm run demo:digits

Sparsifies the digits model of this repository at 50 % and 70 %, and prints accuracy, actual sparsity and latency.`;

const MODEL = fileURLToPath(new URL('../models/digits/model.json', import.meta.url));
const TARGETS = [0.5, 0.7];
const BATCH = 100;
/** Test images whose predictions are compared across processes. */
const COMPARED = 20;

const {values: options} = parseArgs({
  options: {
    help: {type: 'boolean', short: 'h', default: false},
    predict: {type: 'string'},
  },
});

if (options.help) console.log(HELP);
else if (options.predict !== undefined) await predictInNewProcess(options.predict);
else await demo();

async function demo(): Promise<void> {
  const {name, why} = await loadBackend();
  console.log(`backend: ${name} (${why})`);
  const {calibration, test} = await loadDigits();
  const dense = await loadLayersModel(MODEL);
  console.log(`model: ${dense.countParams().toLocaleString('en')} weights, from models/digits/model.json`);
  console.log(
    `calibrating on ${calibration.labels.length} images, testing on ${test.labels.length} others\n`,
  );

  const calibrationBatches = batchesOf(calibration);
  const sparse: tf.LayersModel[] = [];
  for (const target of TARGETS) {
    sparse.push(
      await sparsifyActivations(dense, new Dataset(calibrationBatches), {
        targetSparsityByScope: {'.*': target},
      }),
    );
  }
  tf.dispose(calibrationBatches);
  await printTable([dense, ...sparse], test);
  await saveAndReload(sparse[0], test);
  for (const model of [dense, ...sparse]) model.dispose();
}

async function printTable(models: tf.LayersModel[], test: LabelledImages): Promise<void> {
  const batches = batchesOf(test);
  const labels = {kind: 'classes', values: test.labels, shape: [test.labels.length]} as const;
  const image = tf.slice(batches[0], 0, 1);
  const latencies = await measureLatency(models, [image]);
  const rows = [];
  for (const [i, model] of models.entries()) {
    const {value: accuracy} = await measureQuality(model, new Dataset(batches), labels);
    const sparsity = i === 0 ? [] : await measureSparsity(model, new Dataset(batches));
    rows.push({
      name: i === 0 ? 'dense' : `sparse ${percent(TARGETS[i - 1], 0)}`,
      accuracy,
      sparsity,
      latency: latencies[i],
    });
  }
  tf.dispose([batches, image]);
  const layers = inspect(models[0]).map(({path}) => path);
  console.log(
    formatTable(rows, [
      {title: 'model', cell: ({name}) => name},
      {title: 'accuracy', cell: ({accuracy}) => percent(accuracy, 2), align: 'right'},
      ...layers.map((layer, i) => ({
        title: `sparsity of ${layer}`,
        cell: ({sparsity}: {sparsity: {actual: number}[]}) =>
          sparsity.length === 0 ? '-' : percent(sparsity[i].actual),
        align: 'right' as const,
      })),
      {title: 'latency, 1 image', cell: ({latency}) => `${(1000 * latency).toFixed(0)} us`, align: 'right'},
      {title: 'speed', cell: ({latency}) => `${(latencies[0] / latency).toFixed(2)}x`, align: 'right'},
    ]),
  );
}

async function saveAndReload(model: tf.LayersModel, test: LabelledImages): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-demo-'));
  try {
    await saveLayersModel(model, folder);
    const here = predictions(model, test);
    const script = fileURLToPath(import.meta.url);
    const output = execFileSync(process.execPath, [...process.execArgv, script, '--predict', folder], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const there = JSON.parse(output.trim().split('\n').at(-1) ?? '[]') as number[];
    console.log(`\nsaved, and loaded in a new process, for ${COMPARED} test images:`);
    console.log(`  digits here   ${digitsOf(here).join(' ')}`);
    console.log(`  digits there  ${digitsOf(there).join(' ')}`);
    const difference = Math.max(...here.map((value, i) => Math.abs(value - there[i])));
    if (!(difference <= 1e-6))
      throw new Error(`the reloaded model differs: probabilities by up to ${difference}`);
    console.log('  the probabilities are the same');
  } finally {
    rmSync(folder, {recursive: true});
  }
}

/** Prints the probabilities that the model in `folder` gives the compared images, as JSON. */
async function predictInNewProcess(folder: string): Promise<void> {
  await loadBackend();
  registerLayers();
  const {test} = await loadDigits();
  console.log(JSON.stringify(predictions(await loadLayersModel(folder), test)));
}

function predictions(model: tf.LayersModel, {images}: LabelledImages): number[] {
  return tf.tidy(() => {
    const some = tf.tensor2d(images.subarray(0, COMPARED * IMAGE_PIXELS), [COMPARED, IMAGE_PIXELS]);
    return Array.from((model.predict(some) as tf.Tensor).dataSync());
  });
}

/** The likeliest digit of each image from probabilities [images, 10]. */
function digitsOf(probabilities: number[]): number[] {
  return Array.from({length: probabilities.length / 10}, (_, i) => {
    const row = probabilities.slice(10 * i, 10 * i + 10);
    return row.indexOf(Math.max(...row));
  });
}

/** Images in batches [100, 784]; the caller disposes them. */
function batchesOf({images, labels}: LabelledImages): tf.Tensor2D[] {
  return Array.from({length: Math.ceil(labels.length / BATCH)}, (_, i) => {
    const values = images.subarray(i * BATCH * IMAGE_PIXELS, (i + 1) * BATCH * IMAGE_PIXELS);
    return tf.tensor2d(values, [values.length / IMAGE_PIXELS, IMAGE_PIXELS]);
  });
}
