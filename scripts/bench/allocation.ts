/**
 * @file What allocation saves: perplexity of SmolLM2 and accuracy of the digits model, uniform and allocated, at the same
 * actual sparsity. Thresholds and probes from calibration text and images, figures from test text and images.
 *
 * Usage: npm run bench -- allocation [--json] [--windows N|all] [--protocol word|token] [--method local|greedy]
 *   [--only lm|digits] [--setting N]
 */
import {readFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import * as tf from '@tensorflow/tfjs';
import {
  Dataset,
  TargetScope,
  allocateSparsity,
  inspect,
  measureSparsity,
  sparsifyActivations,
  type Allocation,
  type AllocationMethod,
  type LayerSparsity,
  type SparsifyOptions,
} from '../../lib/index.js';
import {loadBackend} from '../../lib/backend/load.js';
import {formatTable, percent} from '../../lib/cli/text-table.js';
import {allOf} from '../../lib/eval/held-out.js';
import {divergenceLoss} from '../../lib/eval/loss.js';
import {measureQuality} from '../../lib/eval/quality.js';
import {loadLayersModel} from '../../lib/node.js';
import {IMAGE_PIXELS, loadDigits, type LabelledImages} from '../../models/digits/data.js';
import {
  ALLOCATION_SEQUENCES,
  LANGUAGE_CALIBRATION,
  PROJECTIONS,
  allocateLanguageModel,
  fetchModel,
  loadLanguageModel,
  type LanguageModel,
  type PerplexityOptions,
} from '../../lib/language/index.js';

const HELP = `Usage: npm run bench -- allocation [--json] [--windows N|all] [--protocol word|token]
                                   [--method local|greedy] [--only lm|digits] [--setting N]

Perplexity of SmolLM2-135M-Instruct on WikiText-2's test text: dense, and at several mean sparsities uniform and allocated;
accuracy of the digits model on its 2,000 test images.
--windows N takes the first N (4) windows of the text: token perplexity, 2,047 tokens each. --windows all takes the whole
text: word perplexity, as lm-evaluation-harness cuts it, unless --protocol says otherwise; for a GPU (SPARSIFY_BACKEND=node-gpu).
--setting N takes one row of the language model alone, from 1: a minute or two each on four windows.

Output of --json, one object:
  lm      [{layers, method, sparsity, actual, perplexity, wordPerplexity, seconds}]; perplexity is a token's; actual is
          weighted by weights; seconds of allocating and of calibrating
  digits  [{method, sparsity, actual, accuracy, divergence}]; divergence from the dense outputs in nats an image`;

interface LmRow {
  readonly layers: string;
  readonly method: AllocationMethod | 'dense' | 'by role';
  readonly sparsity: number;
  readonly actual: number;
  readonly perplexity: number;
  readonly wordPerplexity: number;
  readonly seconds: readonly [allocating: number, calibrating: number];
}

interface DigitsRow {
  readonly method: AllocationMethod | 'dense';
  readonly sparsity: number;
  readonly actual: number;
  readonly accuracy: number;
  /** Mean Kullback-Leibler divergence from the dense outputs, nats an image. */
  readonly divergence: number;
}

const TEXTS = '../../models/smollm2/wikitext-2';
const textOf = (part: string) => readFileSync(new URL(`${TEXTS}-${part}.txt`, import.meta.url), 'utf8');

const FFN = String.raw`.*mlp\.(gate|up|down)_proj$`;
/** NNCF's example: gate and up 30 %, down 50 %. */
const BY_ROLE = [
  [new TargetScope({patterns: [PROJECTIONS.gateUp]}), 0.3],
  [new TargetScope({patterns: [PROJECTIONS.down]}), 0.5],
] as const;
const SETTINGS = [
  {layers: 'all projections', pattern: PROJECTIONS.all, sparsity: 0.5},
  {layers: 'all projections', pattern: PROJECTIONS.all, sparsity: 0.65},
  {layers: 'FFN', pattern: FFN, sparsity: 0.65},
  {layers: 'FFN', pattern: FFN, sparsity: 0.5},
  {layers: 'FFN', pattern: FFN, sparsity: (0.3 + 0.3 + 0.5) / 3, byRole: BY_ROLE},
];

type LayerTargets = SparsifyOptions['targetSparsityByScope'];

/** Actual sparsities that differ by less count as one. */
const MATCHED = 0.0005;

const {values: options} = parseArgs({
  options: {
    json: {type: 'boolean', default: false},
    windows: {type: 'string', default: '4'},
    protocol: {type: 'string'},
    method: {type: 'string', default: 'local'},
    only: {type: 'string'},
    setting: {type: 'string'},
    help: {type: 'boolean', short: 'h', default: false},
  },
});

if (options.help) console.log(HELP);
else await bench(options.method as AllocationMethod);

async function bench(method: AllocationMethod): Promise<void> {
  await loadBackend();
  const digits = options.only === 'lm' ? [] : await benchDigits(method);
  const lm = options.only === 'digits' ? [] : await benchLanguageModel(method);
  if (options.json) console.log(JSON.stringify({lm, digits}, null, 2));
}

async function benchLanguageModel(method: AllocationMethod): Promise<LmRow[]> {
  const lm = await loadLanguageModel(await fetchModel('smollm2-135m-instruct'), {weights: 'float32'});
  const rows: LmRow[] = [];
  const add = (row: LmRow) => {
    rows.push(row);
    console.error(describe(row));
  };
  const test = textOf('test');
  const protocol = protocolOf(options);
  const {tokenPerplexity, wordPerplexity} = await lm.perplexity(test, protocol);
  add({
    layers: '',
    method: 'dense',
    sparsity: 0,
    actual: 0,
    perplexity: tokenPerplexity,
    wordPerplexity,
    seconds: [0, 0],
  });
  const chosen = options.setting === undefined ? SETTINGS : [SETTINGS[Number(options.setting) - 1]];
  for (const {layers, pattern, sparsity, byRole} of chosen) {
    const scopes = new TargetScope({patterns: [pattern]});
    const measure = async (
      kind: LmRow['method'],
      mean: number,
      targetsOf: () => LayerTargets | Promise<LayerTargets>,
    ): Promise<LmRow> => {
      const start = performance.now();
      const targetSparsityByScope = await targetsOf();
      const between = performance.now();
      const model = await sparsifyActivations(
        lm.model,
        lm.dataset(textOf('calibration'), ALLOCATION_SEQUENCES),
        {targetSparsityByScope, calibration: LANGUAGE_CALIBRATION},
      );
      const end = performance.now();
      const sparse = lm.withModel(model);
      const result = await sparse.perplexity(test, protocol);
      const actual = weightedMean(model, result.sparsity!.layers);
      sparse.dispose();
      return {
        layers,
        method: kind,
        sparsity: mean,
        actual,
        perplexity: result.tokenPerplexity,
        wordPerplexity: result.wordPerplexity,
        seconds: [(between - start) / 1000, (end - between) / 1000],
      };
    };
    const even = byRole ?? [[scopes, sparsity] as const];
    const plain = await measure(byRole === undefined ? 'uniform' : 'by role', sparsity, () => even);
    add(plain);
    const measureAllocated = (mean: number) =>
      measure(method, mean, () => allocated(lm, mean, scopes, method));
    const first = await measureAllocated(sparsity);
    const off = plain.actual - first.actual;
    add(Math.abs(off) < MATCHED ? first : await measureAllocated(sparsity + off));
  }
  lm.dispose();
  if (!options.json) console.log(`${lmTable(rows)}\n`);
  return rows;
}

/** Which windows of the text are scored, and how. */
function protocolOf({windows, protocol}: {windows: string; protocol?: string}): PerplexityOptions {
  const all = windows === 'all';
  return {
    protocol: (protocol ?? (all ? 'word' : 'token')) as PerplexityOptions['protocol'],
    windows: all ? undefined : Number(windows),
  };
}

function allocated(
  lm: LanguageModel,
  sparsity: number,
  scopes: TargetScope,
  method: AllocationMethod,
): Promise<Allocation> {
  return allocateLanguageModel(lm, textOf('calibration'), {target: sparsity, method, scopes});
}

async function benchDigits(method: AllocationMethod): Promise<DigitsRow[]> {
  const model = await loadLayersModel(
    fileURLToPath(new URL('../../models/digits/model.json', import.meta.url)),
  );
  const {calibration, test} = await loadDigits();
  const labels = {kind: 'classes', values: test.labels, shape: [test.labels.length]} as const;
  const accuracyOf = async (sparse: tf.LayersModel) =>
    (await measureQuality(sparse, batchesOf(test), labels)).value;
  const divergence = divergenceLoss(model, allOf(batchesOf(test)));
  const rows: DigitsRow[] = [
    {method: 'dense', sparsity: 0, actual: 0, accuracy: await accuracyOf(model), divergence: 0},
  ];
  for (const sparsity of [0.7, 0.8]) {
    for (const kind of ['uniform', method] as const) {
      const data = batchesOf(calibration);
      const allocation = await allocateSparsity(model, data, {
        target: sparsity,
        method: kind,
        probeRows: 500,
      });
      const sparse = await sparsifyActivations(model, data, {
        targetSparsityByScope: allocation,
        calibration: 'sequential',
      });
      const layers = await measureSparsity(sparse, batchesOf(test));
      rows.push({
        method: kind,
        sparsity,
        actual: weightedMean(sparse, layers),
        accuracy: await accuracyOf(sparse),
        divergence: (await divergence.measure(sparse)).loss,
      });
      sparse.dispose();
    }
  }
  model.dispose();
  if (!options.json) console.log(`${digitsTable(rows)}\n`);
  return rows;
}

/** Images in batches float32 [100, 784]. */
function batchesOf({images, labels}: LabelledImages): Dataset {
  const starts = Array.from({length: labels.length / 100}, (_, i) => 100 * i);
  const batchAt = (start: number) =>
    tf.tensor2d(images.subarray(IMAGE_PIXELS * start, IMAGE_PIXELS * (start + 100)), [100, IMAGE_PIXELS]);
  return new Dataset(starts, batchAt, {disposeItems: true});
}

/** Mean actual sparsity, weighted by the weights of the layers. */
function weightedMean(model: tf.LayersModel, layers: readonly LayerSparsity[]): number {
  const weights = new Map(inspect(model).map(({path, inputSize, units}) => [path, inputSize * units]));
  const total = layers.reduce((sum, {path}) => sum + weights.get(path)!, 0);
  return layers.reduce((sum, {path, actual}) => sum + weights.get(path)! * actual, 0) / total;
}

function describe({layers, method, sparsity, actual, perplexity, wordPerplexity}: LmRow): string {
  const perplexities = `perplexity ${perplexity.toFixed(2)} a token, ${wordPerplexity.toFixed(2)} a word`;
  return `${layers} ${percent(sparsity)} ${method}: actual ${percent(actual, 2)}, ${perplexities}`;
}

function lmTable(rows: readonly LmRow[]): string {
  return formatTable(rows, [
    {title: 'layers', cell: ({layers}) => layers},
    {title: 'mean', cell: ({sparsity}) => percent(sparsity), align: 'right'},
    {title: 'method', cell: ({method}) => method},
    {title: 'actual', cell: ({actual}) => percent(actual, 2), align: 'right'},
    {title: 'token perplexity', cell: ({perplexity}) => perplexity.toFixed(2), align: 'right'},
    {title: 'word perplexity', cell: ({wordPerplexity}) => wordPerplexity.toFixed(2), align: 'right'},
    {title: 'allocating', cell: ({seconds: [s]}) => `${s.toFixed(1)} s`, align: 'right'},
    {title: 'calibrating', cell: ({seconds: [, s]}) => `${s.toFixed(1)} s`, align: 'right'},
  ]);
}

function digitsTable(rows: readonly DigitsRow[]): string {
  return formatTable(rows, [
    {title: 'digits', cell: ({method}) => method},
    {title: 'mean', cell: ({sparsity}) => percent(sparsity, 0), align: 'right'},
    {title: 'actual', cell: ({actual}) => percent(actual, 2), align: 'right'},
    {title: 'accuracy', cell: ({accuracy}) => percent(accuracy, 2), align: 'right'},
    {title: 'KL divergence', cell: ({divergence}) => divergence.toFixed(4), align: 'right'},
  ]);
}
