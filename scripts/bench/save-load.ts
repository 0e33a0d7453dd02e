/**
 * @file `npm run bench -- save-load`: saves a model of gigabytes, loads it in another process, holds the weights
 * against each other, and says what memory and time it took.
 *
 * Usage: npm run bench -- save-load [--gigabytes 1,3,5] [--units 8192] [--folder FOLDER] [--json]
 */
import {spawnSync} from 'node:child_process';
import {createHash} from 'node:crypto';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';

import * as tf from '@tensorflow/tfjs';

import {loadBackend} from '../../lib/backend/load.js';
import {loadLayersModel, saveLayersModel} from '../../lib/io/model/model-files.js';
import {tensorBytes} from '../../lib/io/model/weight-tensors.js';
import {peakBytes, resetPeak} from './measure/memory.js';

const HELP = `Usage: npm run bench -- save-load [--gigabytes 1,3,5] [--units 8192] [--folder FOLDER] [--json]

For each size: makes a model of Dense layers [units, units], saves it, loads it in another process, predicts with it
once, and compares the SHA-256 of every weight. Needs the size on the disk (in FOLDER, by default the system's folder
for temporary files; removed afterwards) and 1.15 times the size in memory, 5 GB a minute or two.

  ratio    peak memory of the process (resident, as Linux counts it) less what it took before there was a model, over
           the bytes of the model's weights: while saving, while loading, and with the first prediction`;

const {values: options} = parseArgs({
  options: {
    gigabytes: {type: 'string', default: '1,3,5'},
    units: {type: 'string', default: '8192'},
    folder: {type: 'string', default: tmpdir()},
    json: {type: 'boolean', default: false},
    help: {type: 'boolean', short: 'h', default: false},
    child: {type: 'string'},
  },
});

/** What one of the two processes found. */
interface Half {
  readonly bytes: number;
  readonly seconds: number;
  readonly ratio: number;
  readonly predictRatio?: number;
  readonly hashes: readonly string[];
}

if (options.help) console.log(HELP);
else if (options.child === undefined) process.exitCode = bench();
else console.log(JSON.stringify(await (options.child === 'save' ? save() : load())));

function bench(): number {
  const rows = options.gigabytes.split(',').map((gigabytes) => {
    const folder = mkdtempSync(join(options.folder, 'tfjs-sparsify-save-load-'));
    try {
      const saved = half('save', gigabytes, folder);
      const loaded = half('load', gigabytes, folder);
      return {
        gigabytes: saved.bytes / 1e9,
        saveSeconds: saved.seconds,
        saveRatio: saved.ratio,
        loadSeconds: loaded.seconds,
        loadRatio: loaded.ratio,
        predictRatio: loaded.predictRatio,
        equal: saved.hashes.join() === loaded.hashes.join(),
      };
    } finally {
      rmSync(folder, {recursive: true, force: true});
    }
  });
  if (options.json) console.log(JSON.stringify({rows}, null, 2));
  else console.table(rows.map((row) => ({...row, ...rounded(row)})));
  return rows.every(({equal}) => equal) ? 0 : 1;
}

function rounded(row: object): object {
  const numbers = Object.entries(row).filter(([, value]) => typeof value === 'number') as [string, number][];
  return Object.fromEntries(numbers.map(([name, value]) => [name, Number(value.toFixed(3))]));
}

function half(child: string, gigabytes: string, folder: string): Half {
  const args = ['--child', child, '--gigabytes', gigabytes, '--units', options.units, '--folder', folder];
  const {status, stdout} = spawnSync(
    process.execPath,
    [...process.execArgv, fileURLToPath(import.meta.url), ...args],
    {encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit']},
  );
  if (status !== 0) throw new Error(`the process that should ${child} ended with ${status}`);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Half;
}

async function save(): Promise<Half> {
  await warmUp();
  const before = process.memoryUsage().rss;
  const model = bigModel(Number(options.gigabytes), Number(options.units));
  const bytes = weightBytes(model);
  resetPeak();
  const start = performance.now();
  await saveLayersModel(model, options.folder);
  const seconds = (performance.now() - start) / 1000;
  return {bytes, seconds, ratio: (peakBytes() - before) / bytes, hashes: await hashesOf(model)};
}

async function load(): Promise<Half> {
  await warmUp();
  const before = process.memoryUsage().rss;
  resetPeak();
  const start = performance.now();
  const model = await loadLayersModel(options.folder);
  const seconds = (performance.now() - start) / 1000;
  const bytes = weightBytes(model);
  const ratio = (peakBytes() - before) / bytes;
  tf.tidy(() => void (model.predict(tf.ones([1, Number(options.units)])) as tf.Tensor).dataSync());
  return {bytes, seconds, ratio, predictRatio: (peakBytes() - before) / bytes, hashes: await hashesOf(model)};
}

/** The backend with everything that it loads at its first op. */
async function warmUp(): Promise<void> {
  await loadBackend();
  tf.tidy(() => void tf.matMul(tf.ones([64, 64]), tf.ones([64, 64])).dataSync());
}

/** Dense layers [units, units] of float32, each weight of other values. */
function bigModel(gigabytes: number, units: number): tf.LayersModel {
  const model = tf.sequential();
  const layers = Math.max(1, Math.round((gigabytes * 1e9) / (units * units * 4)));
  for (let i = 0; i < layers; i++) {
    const inputShape = [units];
    model.add(tf.layers.dense({units, inputShape, useBias: false, kernelInitializer: 'zeros'}));
    const rows = tf.tidy(() => tf.range(0, units).mul(0.37 * (i + 1)));
    const columns = tf.tidy(() => tf.range(0, units).mul(1.31).reshape([1, units]));
    const kernel = tf.tidy(() => tf.sin(tf.add(rows.reshape([units, 1]), columns))); // [units, units]
    model.layers[i].setWeights([kernel]);
    tf.dispose([rows, columns, kernel]);
  }
  return model;
}

function weightBytes(model: tf.LayersModel): number {
  return model.weights.reduce((sum, weight) => sum + weight.read().size * 4, 0);
}

async function hashesOf(model: tf.LayersModel): Promise<string[]> {
  const hashes: string[] = [];
  for (const weight of model.weights) {
    const hash = createHash('sha256');
    for await (const piece of tensorBytes(weight.read())) hash.update(piece);
    hashes.push(hash.digest('hex'));
  }
  return hashes;
}
