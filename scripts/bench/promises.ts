/**
 * @file Whether what `allocateSparsity` promises is kept: losses on test text and images that neither calibration nor the
 * search saw, speeds measured anew. A loss counts as kept up to a tenth above what was asked, a speed down to a tenth below.
 *
 * Usage: npm run bench -- promises [--json] [--only lm|digits] [--what loss|speed] [--windows N]
 */
import {readFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import type * as tf from '@tensorflow/tfjs';
import {
  Dataset,
  allocateSparsity,
  sparsifyActivations,
  type Allocation,
  type AllocationTarget,
} from '../../lib/index.js';
import {loadBackend} from '../../lib/backend/load.js';
import {formatTable, percent} from '../../lib/cli/text-table.js';
import {allOf} from '../../lib/eval/held-out.js';
import {accuracyLoss, divergenceLoss} from '../../lib/eval/loss.js';
import {predictionSpeed} from '../../lib/eval/prediction-speed.js';
import {loadLayersModel, openDataFile, readLabels} from '../../lib/node.js';
import {decodingSpeed, perplexityLoss} from '../../lib/language/allocate-language-model.js';
import {
  ALLOCATION_SEQUENCES,
  LANGUAGE_CALIBRATION,
  allocateLanguageModel,
  fetchModel,
  loadLanguageModel,
} from '../../lib/language/index.js';

const HELP = `Usage: npm run bench -- promises [--json] [--only lm|digits] [--what loss|speed] [--windows N]

Allocates for several losses and speeds, on calibration data, and measures what came of it: the loss of SmolLM2-135M-Instruct
on the first N (4) windows of WikiText-2's test text and of the digits model on its test images, the speeds once more. Speeds
want a machine that does nothing else. Losses of the language model take three minutes each on 2 cores, its speeds one.

Output of --json: [{model, target, asked, sparsity, got, kept, seconds}]`;

interface Row {
  readonly model: string;
  readonly target: string;
  readonly asked: number;
  /** Mean, weighted by weights. */
  readonly sparsity: number;
  readonly got: number;
  /** Within a tenth. */
  readonly kept: boolean;
  /** Of allocating. */
  readonly seconds: number;
}

const LM_LOSSES = [0.05, 0.02, 0.1, 0.01];
const DIGITS_POINTS = [0.005, 0.01, 0.02];
const DIGITS_DIVERGENCES = [0.01, 0.05, 0.2];
const LM_SPEEDUPS = [1.2, 1.4];
const DIGITS_SPEEDUPS = [2, 2.6];

const CALIBRATION_TEXT = '../../models/smollm2/wikitext-2-calibration.txt';
const TEST_TEXT = '../../models/smollm2/wikitext-2-test.txt';

const {values: options} = parseArgs({
  options: {
    json: {type: 'boolean', default: false},
    only: {type: 'string'},
    what: {type: 'string'},
    windows: {type: 'string', default: '4'},
    help: {type: 'boolean', short: 'h', default: false},
  },
});

if (options.help) console.log(HELP);
else await bench();

async function bench(): Promise<void> {
  await loadBackend();
  const rows: Row[] = [];
  const add = (row: Row) => {
    rows.push(row);
    console.error(tableOf([row]).split('\n')[1]);
  };
  if (options.only !== 'lm') await benchDigits(add);
  if (options.only !== 'digits') await benchLanguageModel(add);
  if (options.json) console.log(JSON.stringify(rows, null, 2));
  else console.log(`${tableOf(rows)}\n\n${tallyOf(rows)}`);
}

async function benchDigits(add: (row: Row) => void): Promise<void> {
  const file = (name: string) => fileURLToPath(new URL(`../../models/digits/${name}`, import.meta.url));
  const images = (name: string) =>
    new Dataset(openDataFile(file(name), {batchSize: 50, scale: 1 / 255}), null, {disposeItems: true});
  const [data, test] = [images('calibration-images.npy'), images('test-images.npy')];
  const labels = await readLabels(file('calibration-labels.npy'));
  const testLabels = await readLabels(file('test-labels.npy'));
  const model = await loadLayersModel(file('model.json'));
  const run = async (target: AllocationTarget, withLabels: boolean): Promise<Made> => {
    const start = performance.now();
    const allocation = await allocateSparsity(model, data, {
      target,
      labels: withLabels ? labels : undefined,
    });
    const seconds = (performance.now() - start) / 1000;
    return {
      allocation,
      seconds,
      sparse: await sparsifyActivations(model, data, {targetSparsityByScope: allocation}),
    };
  };
  if (options.what !== 'speed') {
    for (const asked of DIGITS_POINTS) {
      const made = await run({maxLoss: asked}, true);
      const {loss} = await accuracyLoss(model, allOf(test), testLabels).measure(made.sparse);
      add(lossRow('digits', 'accuracy points', asked, made, loss));
    }
    for (const asked of DIGITS_DIVERGENCES) {
      const made = await run({maxLoss: asked}, false);
      const {loss} = await divergenceLoss(model, allOf(test)).measure(made.sparse);
      add(lossRow('digits', 'KL divergence', asked, made, loss));
    }
  }
  if (options.what !== 'loss') {
    for (const asked of DIGITS_SPEEDUPS) {
      const made = await run({speedup: asked}, false);
      const {denseMs, ms} = await predictionSpeed(model, test).measure(made.sparse);
      add(speedRow('digits', asked, made, denseMs / ms));
    }
  }
  model.dispose();
}

async function benchLanguageModel(add: (row: Row) => void): Promise<void> {
  const textOf = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');
  const text = textOf(CALIBRATION_TEXT);
  const lm = await loadLanguageModel(await fetchModel('smollm2-135m-instruct'), {weights: 'float32'});
  const windows = lm.windows(textOf(TEST_TEXT), {protocol: 'token', windows: Number(options.windows)});
  const onTest = perplexityLoss(lm, windows);
  const run = async (target: AllocationTarget): Promise<Made> => {
    const start = performance.now();
    const allocation = await allocateLanguageModel(lm, text, {target});
    const seconds = (performance.now() - start) / 1000;
    const sparse = await sparsifyActivations(lm.model, lm.dataset(text, ALLOCATION_SEQUENCES), {
      targetSparsityByScope: allocation,
      calibration: LANGUAGE_CALIBRATION,
    });
    return {allocation, seconds, sparse};
  };
  if (options.what !== 'speed') {
    for (const asked of LM_LOSSES) {
      const made = await run({maxLoss: asked});
      const {loss} = await onTest.measure(made.sparse);
      add(lossRow('SmolLM2', 'relative perplexity', asked, made, loss));
    }
  }
  if (options.what !== 'loss') {
    for (const asked of LM_SPEEDUPS) {
      const made = await run({speedup: asked});
      const {denseMs, ms} = await decodingSpeed(lm).measure(made.sparse);
      add(speedRow('SmolLM2', asked, made, denseMs / ms));
    }
  }
  lm.dispose();
}

/** What was allocated, and the model that has it. */
interface Made {
  readonly allocation: Allocation;
  readonly seconds: number;
  readonly sparse: tf.LayersModel;
}

/** Disposes the model. */
function lossRow(model: string, target: string, asked: number, made: Made, got: number): Row {
  made.sparse.dispose();
  const {allocation, seconds} = made;
  return {model, target, asked, sparsity: allocation.sparsity, got, kept: got <= 1.1 * asked, seconds};
}

/** Disposes the model. */
function speedRow(model: string, asked: number, made: Made, got: number): Row {
  made.sparse.dispose();
  const {allocation, seconds} = made;
  return {
    model,
    target: 'speed',
    asked,
    sparsity: allocation.sparsity,
    got,
    kept: got >= 0.9 * asked,
    seconds,
  };
}

/** `losses kept: 9 of 10; speeds reached: 5 of 5`. */
function tallyOf(rows: readonly Row[]): string {
  const speeds = rows.filter(({target}) => target === 'speed');
  const losses = rows.filter((row) => !speeds.includes(row));
  const count = (some: readonly Row[]) => `${some.filter(({kept}) => kept).length} of ${some.length}`;
  return `losses kept: ${count(losses)}; speeds reached: ${count(speeds)}`;
}

function tableOf(rows: readonly Row[]): string {
  const show = ({target}: Row, value: number) =>
    target === 'speed'
      ? `${value.toFixed(2)}x`
      : target === 'KL divergence'
        ? `${value.toPrecision(3)} nats`
        : percent(value, 2);
  return formatTable(rows, [
    {title: 'model', cell: ({model}) => model},
    {title: 'target', cell: ({target}) => target},
    {title: 'asked', cell: (row) => show(row, row.asked), align: 'right'},
    {title: 'mean sparsity', cell: ({sparsity}) => percent(sparsity), align: 'right'},
    {title: 'got', cell: (row) => show(row, row.got), align: 'right'},
    {title: 'kept', cell: ({kept}) => (kept ? 'yes' : 'no')},
    {title: 'allocating', cell: ({seconds}) => `${seconds.toFixed(1)} s`, align: 'right'},
  ]);
}
