/**
 * @file Whole models: the time of `model.predict`, stock beside sparsified, and the peak memory of a process that
 * sparsifies a model of 1 GB and runs it, beside one that only runs it.
 *
 * Usage: npm run bench -- predict [--json] [--seconds S] [--only times|memory]
 */
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import * as tf from '@tensorflow/tfjs';
import {loadBackend} from '../../lib/backend/load.js';
import {formatTable, percent} from '../../lib/cli/text-table.js';
import {median} from '../../lib/eval/latency.js';
import {measureSparsity, sparsifyActivations} from '../../lib/index.js';
import {loadLayersModel} from '../../lib/io/model/model-files.js';
import {peakMemoryOf, printPeakMemory} from './measure/memory.js';
import {mlp, normalValues} from './measure/models.js';

const HELP = `Usage: npm run bench -- predict [--json] [--seconds S] [--only times|memory]

Median time of model.predict of the digits model and of 4 Dense layers 4096 wide (swish), stock beside sparsified at
0, 50 and 70 %, batch 1 and 32, called in turns for about S seconds (4) each; and the peak memory of a process that
runs 4 Dense layers of 8192 x 8192 (1 GB), stock and sparsified at 50 %.

Output of --json, one object:
  backend
  models  [{model, batch, sparsity, actual, medianMs, spreadMs, calls, vsStock}]; sparsity is null for the stock model,
          actual the mean share of inputs that was masked, spreadMs the 10th and the 90th of 100 calls
  memory  {stockMiB, sparseMiB, ratio}`;

const SCRIPT = fileURLToPath(import.meta.url);
const DIGITS = fileURLToPath(new URL('../../models/digits/model.json', import.meta.url));
const SPARSITIES = [0, 0.5, 0.7];
const BATCHES = [1, 32];
const CALIBRATION_ROWS = 256;
/** Inputs that take turns, each with masks of its own. */
const INPUTS = 16;

const MEMORY_MODES = ['stock', 'sparse'] as const;
type MemoryMode = (typeof MEMORY_MODES)[number];

interface Row {
  readonly model: string;
  readonly batch: number;
  /** Target of all layers; null for the stock model. */
  readonly sparsity: number | null;
  /** Mean over the layers of the share of inputs that was masked. */
  readonly actual: number | null;
  readonly medianMs: number;
  readonly spreadMs: readonly [number, number];
  readonly calls: number;
  readonly vsStock: number;
}

interface Variant {
  readonly sparsity: number | null;
  readonly actual: number | null;
  readonly model: tf.LayersModel;
}

const {values: options} = parseArgs({
  options: {
    json: {type: 'boolean', default: false},
    seconds: {type: 'string', default: '4'},
    only: {type: 'string'},
    help: {type: 'boolean', short: 'h', default: false},
    'memory-child': {type: 'string'},
  },
});

if (options.help) console.log(HELP);
else if (options['memory-child'] !== undefined) await reportPeakMemory(options['memory-child'] as MemoryMode);
else await bench(Number(options.seconds));

async function bench(seconds: number): Promise<void> {
  const {name: backend} = await loadBackend();
  const models = options.only === 'memory' ? [] : await timesOfModels(seconds);
  const memory = options.only === 'times' ? null : memoryOfModels();
  if (options.json) {
    console.log(JSON.stringify({backend, models, memory}, null, 2));
    return;
  }
  console.log(`model.predict on backend ${backend}, medians\n`);
  if (models.length > 0) print(models);
  if (memory === null) return;
  const [stock, sparse] = [memory.stockMiB, memory.sparseMiB].map((mib) => mib.toFixed(0));
  console.log(
    `\npeak memory with a model of 1 GB: stock ${stock} MiB, sparsified ${sparse} MiB: ${memory.ratio.toFixed(3)}x`,
  );
}

async function timesOfModels(seconds: number): Promise<Row[]> {
  const rows: Row[] = [];
  const models = [
    {name: 'digits', make: () => loadLayersModel(DIGITS)},
    {
      name: '4 x Dense 4096',
      make: () => Promise.resolve(mlp({layers: 4, width: 4096})),
    },
  ];
  for (const {name, make} of models) {
    console.error(`${name}: 2 batch sizes, about ${Math.ceil(2 * seconds + 5)} s`);
    const stock = await make();
    const variants: Variant[] = [{sparsity: null, actual: null, model: stock}];
    for (const sparsity of SPARSITIES) variants.push(await sparsified(stock, sparsity));
    for (const batch of BATCHES) rows.push(...timesOf(name, variants, batch, seconds));
    // The sparsified models share the weights.
    variants.reverse().forEach(({model}) => model.dispose());
  }
  return rows;
}

async function sparsified(stock: tf.LayersModel, sparsity: number): Promise<Variant> {
  const width = stock.inputs[0].shape[1]!;
  const data = normalValues([CALIBRATION_ROWS, width], 1);
  const model = await sparsifyActivations(stock, [data], {targetSparsityByScope: {'.*': sparsity}});
  const layers = await measureSparsity(model, [data]);
  data.dispose();
  return {sparsity, actual: layers.reduce((sum, {actual}) => sum + actual, 0) / layers.length, model};
}

function timesOf(name: string, variants: readonly Variant[], batch: number, seconds: number): Row[] {
  const width = variants[0].model.inputs[0].shape[1]!;
  const inputs = Array.from({length: INPUTS}, (_, i) => normalValues([batch, width], 100 + i));
  const times: number[][] = variants.map(() => []);
  let next = 0;
  const end = performance.now() + seconds * 1000;
  for (let round = -2; round < 7 || performance.now() < end; round++) {
    for (let turn = 0; turn < variants.length; turn++) {
      const variant = (((turn + round) % variants.length) + variants.length) % variants.length;
      const input = inputs[next++ % INPUTS];
      const start = performance.now();
      const output = variants[variant].model.predict(input) as tf.Tensor;
      output.dataSync();
      const took = performance.now() - start;
      output.dispose();
      if (round >= 0) times[variant].push(took);
    }
  }
  tf.dispose(inputs);
  const stockMs = median(times[0]);
  return variants.map(({sparsity, actual}, i) => {
    const sorted = [...times[i]].sort((a, b) => a - b);
    const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))];
    return {
      model: name,
      batch,
      sparsity,
      actual,
      medianMs: median(sorted),
      spreadMs: [at(0.1), at(0.9)],
      calls: sorted.length,
      vsStock: stockMs / median(sorted),
    };
  });
}

function memoryOfModels(): {stockMiB: number; sparseMiB: number; ratio: number} {
  console.error('memory of a model of 1 GB, two processes, about 20 s');
  const [stockMiB, sparseMiB] = MEMORY_MODES.map((mode) => peakMemoryOf(SCRIPT, mode));
  return {stockMiB, sparseMiB, ratio: sparseMiB / stockMiB};
}

/** Runs 4 Dense layers of 8192 x 8192, 1 GB of weights that are no zeros, and prints this process's peak memory. */
async function reportPeakMemory(mode: MemoryMode): Promise<void> {
  await loadBackend();
  const stock = mlp({layers: 4, width: 8192, stddev: 1});
  const data = normalValues([32, 8192], 1);
  const model =
    mode === 'stock' ? stock : await sparsifyActivations(stock, [data], {targetSparsityByScope: {'.*': 0.5}});
  for (const rows of [1, 32, 1, 32]) {
    tf.tidy(() => (model.predict(data.slice(0, rows)) as tf.Tensor).dataSync());
  }
  printPeakMemory();
}

function print(rows: readonly Row[]): void {
  console.log(
    formatTable(rows, [
      {title: 'model', cell: ({model}) => model},
      {title: 'batch', cell: ({batch}) => String(batch), align: 'right'},
      {
        title: 'target',
        cell: ({sparsity}) => (sparsity === null ? 'stock' : percent(sparsity, 0)),
        align: 'right',
      },
      {title: 'actual', cell: ({actual}) => (actual === null ? '-' : percent(actual)), align: 'right'},
      {title: 'median ms', cell: ({medianMs}) => medianMs.toFixed(3), align: 'right'},
      {
        title: 'spread ms',
        cell: ({spreadMs}) => spreadMs.map((ms) => ms.toFixed(3)).join(' - '),
        align: 'right',
      },
      {title: 'vs stock', cell: ({vsStock}) => `${vsStock.toFixed(2)}x`, align: 'right'},
    ]),
  );
}
