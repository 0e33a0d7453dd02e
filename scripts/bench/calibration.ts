/**
 * @file What calibration costs beside the forward passes that it cannot do without: time, as a ratio in the same run,
 * and memory, as the growth of the peak from 1x to 10x the data.
 *
 * Usage: npm run bench -- calibration [--json] [--rounds N]
 */
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import * as tf from '@tensorflow/tfjs';
import {loadBackend} from '../../lib/backend/load.js';
import {formatTable} from '../../lib/cli/text-table.js';
import {median} from '../../lib/eval/latency.js';
import {Dataset, retarget, sparsifyActivations} from '../../lib/index.js';
import {loadLayersModel} from '../../lib/io/model/model-files.js';
import {peakMemoryOf, printPeakMemory} from './measure/memory.js';
import {normalValues, residualMlp} from './measure/models.js';

const HELP = `Usage: npm run bench -- calibration [--json] [--rounds N]

Time of sparsifyActivations divided by that of plain forward passes over the same batches (median of N rounds in
turns, 9 by default); growth of a process's peak memory from 64 to 640 batches; time of retarget on 210 layers.`;

const SCRIPT = fileURLToPath(import.meta.url);
const DIGITS = fileURLToPath(new URL('../../models/digits/model.json', import.meta.url));
const BATCH = 128;
const BATCHES = 32;
const MEMORY_BATCHES = [64, 640];

interface Row {
  readonly model: string;
  readonly method: 'pooled' | 'nncf';
  readonly forwardMs: number;
  readonly calibrationMs: number;
  /** Median over the rounds of calibration by forward passes. */
  readonly ratio: number;
}

const {values: options} = parseArgs({
  options: {
    json: {type: 'boolean', default: false},
    rounds: {type: 'string', default: '9'},
    help: {type: 'boolean', short: 'h', default: false},
    'memory-child': {type: 'string'},
  },
});

if (options.help) console.log(HELP);
else if (options['memory-child'] !== undefined) await reportPeakMemory(Number(options['memory-child']));
else await bench(Number(options.rounds));

async function bench(rounds: number): Promise<void> {
  const {name} = await loadBackend();
  const models = [
    {name: 'digits', model: await loadLayersModel(DIGITS), width: 784},
    {name: '30 blocks, 256 wide', model: residualMlp({blocks: 30, width: 256, hidden: 512}), width: 256},
  ];
  const rows: Row[] = [];
  for (const {name, model, width} of models) {
    for (const method of ['pooled', 'nncf'] as const)
      rows.push(await timeOf(name, model, width, method, rounds));
  }
  const [small, large] = MEMORY_BATCHES.map((count) => peakMemoryOf(SCRIPT, String(count)));
  const result = {
    backend: name,
    rows,
    memory: {batches: MEMORY_BATCHES, peakMiB: [small, large], growth: large / small - 1},
    retargetMs: await retargetTime(),
  };
  if (options.json) console.log(JSON.stringify(result, null, 2));
  else print(result);
  models.forEach(({model}) => model.dispose());
}

async function timeOf(
  name: string,
  model: tf.LayersModel,
  width: number,
  method: Row['method'],
  rounds: number,
): Promise<Row> {
  const batches = Array.from({length: BATCHES}, (_, i) => normalValues([BATCH, width], i));
  const forward = async () => {
    for (const batch of batches) {
      tf.dispose(model.predictOnBatch(batch));
      await tf.nextFrame();
    }
  };
  const calibrate = async () => {
    const sparse = await sparsifyActivations(model, new Dataset(batches), {
      targetSparsityByScope: {'.*': 0.5},
      calibration: method,
    });
    sparse.dispose();
  };
  await forward();
  await calibrate();
  const times: {forward: number; calibration: number}[] = [];
  for (let round = 0; round < rounds; round++) {
    times.push({forward: await timed(forward), calibration: await timed(calibrate)});
  }
  tf.dispose(batches);
  return {
    model: name,
    method,
    forwardMs: median(times.map(({forward}) => forward)),
    calibrationMs: median(times.map(({calibration}) => calibration)),
    ratio: median(times.map(({forward, calibration}) => calibration / forward)),
  };
}

async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Calibrates on data that is made batch by batch, and prints this process's peak memory in MiB. */
async function reportPeakMemory(count: number): Promise<void> {
  await loadBackend();
  const model = residualMlp({blocks: 6, width: 256, hidden: 512});
  async function* batches() {
    for (let i = 0; i < count; i++) {
      const batch = normalValues([BATCH, 256], i);
      yield await Promise.resolve(batch);
      batch.dispose();
    }
  }
  await sparsifyActivations(model, new Dataset(batches()), {
    targetSparsityByScope: {'.*': 0.5},
    inPlace: true,
  });
  printPeakMemory();
}

/** Milliseconds of new targets for 210 layers. */
async function retargetTime(): Promise<number> {
  const model = residualMlp({blocks: 70, width: 32, hidden: 64}); // 3 Dense layers a block
  const batch = normalValues([BATCH, 32], 1);
  await sparsifyActivations(model, [batch], {targetSparsityByScope: {'.*': 0.5}, inPlace: true});
  const times = [];
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    retarget(model, {'.*': 0.3 + 0.1 * i});
    times.push(performance.now() - start);
  }
  model.dispose();
  batch.dispose();
  return median(times);
}

function print({
  backend,
  rows,
  memory,
  retargetMs,
}: {
  backend: string;
  rows: readonly Row[];
  memory: {batches: readonly number[]; peakMiB: readonly number[]; growth: number};
  retargetMs: number;
}): void {
  console.log(`${BATCHES} batches of ${BATCH}, backend ${backend}, medians\n`);
  const ms = (value: number) => `${value.toFixed(1)} ms`;
  console.log(
    formatTable(rows, [
      {title: 'model', cell: ({model}) => model},
      {title: 'method', cell: ({method}) => method},
      {title: 'forward', cell: ({forwardMs}) => ms(forwardMs), align: 'right'},
      {title: 'calibration', cell: ({calibrationMs}) => ms(calibrationMs), align: 'right'},
      {title: 'ratio', cell: ({ratio}) => `${ratio.toFixed(2)}x`, align: 'right'},
    ]),
  );
  const [small, large] = memory.peakMiB.map((mib) => mib.toFixed(0));
  console.log(
    `\npeak memory ${small} MiB for ${memory.batches[0]} batches, ${large} MiB for ${memory.batches[1]}: ` +
      `${(100 * memory.growth).toFixed(1)} % more`,
  );
  console.log(`retarget of 210 layers: ${ms(retargetMs)}`);
}
