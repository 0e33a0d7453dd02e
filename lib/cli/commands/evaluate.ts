/**
 * @file `tfjs-sparsify evaluate`: quality, actual sparsity and latency of a model, beside a baseline if given; of a
 * language model on text, perplexity beside the dense model's.
 */
import {basename} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {Command} from 'commander';
import {compareWithDense, type LanguageModel} from '../../language/index.js';
import {firstItems} from '../../calibration/model-batches.js';
import {toModelInputs} from '../../calibration/model-inputs.js';
import type {LossMetric} from '../../metadata/allocation.js';
import type {Batches} from '../../dataset.js';
import {SparsifyError} from '../../errors.js';
import {denseCopy} from '../../eval/dense-copy.js';
import {allOf} from '../../eval/held-out.js';
import {measureLatency} from '../../eval/latency.js';
import {divergenceLoss} from '../../eval/loss.js';
import {measureSparsity, type LayerSparsity} from '../../eval/measure-sparsity.js';
import {measureQuality, type Quality} from '../../eval/quality.js';
import {readLabels, type Labels} from '../../io/data/labels.js';
import {withoutCredentials} from '../../io/files/url-credentials.js';
import {ensureBuilt, maskingLayers} from '../../model/dense-layers.js';
import {readText} from '../../io/files/read-text.js';
import {addDataOptions, isTextFile, openData, type DataOptions} from '../data.js';
import {interruptible} from '../interrupt.js';
import {MODEL_ARGUMENT, backendOption, openLanguageModel, openModel, type BackendOptions} from '../model.js';
import {stepsBeside} from '../write-model-card.js';
import {jsonOption} from '../shared-options.js';
import {describeMachine, thisStep} from '../origin.js';
import {withProgress} from '../progress.js';
import {describeSparsity} from '../layer-list.js';
import {
  checkReportPath,
  contentsOf,
  knownOf,
  modelName,
  reportOption,
  writeReport,
  type ReportOptions,
} from '../report-option.js';
import {
  THRESHOLDS_OFF,
  comparisonTable,
  labelledTable,
  sparsityOn,
  weightFormats,
  type Named,
} from '../report-tables.js';
import {formatTable, percent} from '../text-table.js';
import {WINDOWS_HELP, addWindowOptions, describeComparison, type WindowCommandOptions} from '../windows.js';

const HELP = `
Example:
  $ tfjs-sparsify evaluate sparse --baseline models/digits/model.json --scale 0.00392156862745098 \\
      --data models/digits/test-images.npy --labels models/digits/test-labels.npy
  $ tfjs-sparsify evaluate sparse --data wikitext-2-test.txt --protocol token --windows 4
  $ tfjs-sparsify evaluate sparse int8-sparse --baseline model.gguf --data wikitext-2-test.txt

Labels are class indices, one-hot rows (accuracy) or numbers (mean squared error). Without labels the model's outputs
are held against those of the baseline, or of the model itself with its thresholds off: the KL divergence where they end
with softmax or sigmoid, else the relative squared error. Latency is the median of one
prediction of one item, the models run in turns. With --batches the labels of later items are left out.

A sparsified language model, or several of one tokenizer, is evaluated on text, without labels, against the baseline or
against the first one with its thresholds off. ${WINDOWS_HELP}

Output of --json, one object:
  models    [{model, metric, value, items, latencyMs}], the baseline, or without labels the dense model, first
  sparsity  [{path, target, actual}] of MODEL on the data; empty if it is not sparsified
and on text:
  modes       [{mode, sparsity, wordPerplexity, tokenPerplexity, divergence, agreement}], the dense one first; mode is one
              of fp32, int8_asym, int8_sym, int4_asym, int4_sym, sparse_activation, or two joined by ' + '; divergence is the mean KL
              divergence from the first, in nats a token, agreement the share of tokens with the same likeliest one
  sparsity    of the last, null if it is dense: {mean, groups: [{group, layers, actual}], layers: [{path, target, actual}]}
  tokens, words

Exit code: 0, or 1 if the run failed, 2 on wrong use, 130 after Ctrl-C.`;

interface EvaluateOptions extends DataOptions, BackendOptions, WindowCommandOptions, ReportOptions {
  readonly labels?: string;
  readonly baseline?: string;
  readonly json?: boolean;
}

/** How right a model is, or how far from the dense one. */
interface Evaluated extends Omit<Quality, 'metric'> {
  readonly metric: Quality['metric'] | LossMetric;
}

/** One line of the result. */
interface Evaluation extends Evaluated {
  readonly model: string;
  readonly latencyMs: number;
}

/** The command, to add to a program. */
export function evaluateCommand(): Command {
  const command = new Command('evaluate')
    .description('quality, actual sparsity and latency of a model on data')
    .argument('<MODEL...>', `${MODEL_ARGUMENT}; several language models are put beside each other`)
    .option(
      '-l, --labels <FILE>',
      'what the model should give: .npy, .npz or .jsonl; without it the dense model; not with text',
    )
    .option('--baseline <MODEL>', 'another model to put beside it, the dense one say')
    .addOption(backendOption())
    .addOption(reportOption())
    .addOption(jsonOption())
    .addHelpText('after', HELP);
  return addWindowOptions(addDataOptions(command, 'data that calibration never saw')).action(
    (paths: string[], options: EvaluateOptions) =>
      interruptible((signal) =>
        isTextFile(options.data) ? runOnText(paths, options, signal) : run(onlyOne(paths), options, signal),
      ),
  );
}

async function run(path: string, options: EvaluateOptions, signal: AbortSignal): Promise<void> {
  const {baseline} = options;
  checkNoWindows(options);
  await checkReportPath(options);
  const labels = options.labels === undefined ? null : await readLabels(options.labels);
  const given = baseline === undefined ? [path] : [baseline, path];
  const paths = given.map(withoutCredentials);
  const models: tf.LayersModel[] = [];
  for (const path of given) models.push(await openModel(path, {...options, signal}));
  const model = models[models.length - 1];
  if (labels === null && baseline === undefined) {
    models.unshift(denseOf(model));
    paths.unshift(THRESHOLDS_OFF);
  }
  const data = await openData(model, options);
  const qualities =
    labels === null
      ? await divergenceFrom(models[0], model, data, signal)
      : await qualitiesOf(models, paths, data, labels, options, signal);
  const sparsity = await sparsityOf(model, data, signal);
  const latencies = await latencyOfOneItem(models, data);
  signal.throwIfAborted();

  const evaluations = qualities.map((quality, i) => ({
    model: paths[i],
    ...quality,
    latencyMs: latencies[i],
  }));
  if (options.json === true) console.log(JSON.stringify({models: evaluations, sparsity}, null, 2));
  else console.log(describe(evaluations, sparsity));
  await writeReport(options, async () => {
    const name = basename(options.data);
    const rows = evaluations.map((row, i) => ({...named(row.model, models[i]), ...row}));
    return contentsOf(knownOf(model), path, {
      quality: labelledTable(rows, sparsity, name),
      latency: {
        of: 'prediction',
        rows: rows.map(({name, latencyMs: ms}, i) => ({name, ms, isDense: rows.length > 1 && i === 0})),
        on: `one item, ${describeMachine()}`,
      },
      sparsity: sparsity.length === 0 ? null : {layers: sparsity, on: `on ${name}`},
      steps: await stepsBeside(path),
      measurement: await thisStep({
        models: given,
        data: options.data,
        labels: options.labels,
      }),
    });
  });
  models.reverse().forEach((model) => model.dispose());
}

/** The model with its thresholds off. */
function denseOf(model: tf.LayersModel): tf.LayersModel {
  if (maskingLayers(model).size > 0) return denseCopy(model);
  throw new SparsifyError(
    'bad-option',
    'the model is dense, so there is nothing to hold it against: give what it should answer with --labels, or another ' +
      'model with --baseline',
  );
}

/** How right each model is. */
async function qualitiesOf(
  models: readonly tf.LayersModel[],
  paths: readonly string[],
  data: Batches,
  labels: Labels,
  {batches}: EvaluateOptions,
  signal: AbortSignal,
): Promise<Evaluated[]> {
  const qualities: Evaluated[] = [];
  for (const [i, model] of models.entries()) {
    const quality = await withProgress(`evaluating ${paths[i]}`, 'batches', (onProgress) =>
      measureQuality(model, data, labels, {onProgress, signal, partial: batches !== undefined}),
    );
    qualities.push(quality);
  }
  return qualities;
}

/** How far a model's outputs are from those of the dense one, which is none from itself. */
async function divergenceFrom(
  dense: tf.LayersModel,
  model: tf.LayersModel,
  data: Batches,
  signal: AbortSignal,
): Promise<Evaluated[]> {
  for (const each of [dense, model]) ensureBuilt(each);
  let items = 0;
  const counted: Batches = {
    length: data.length,
    async *getInferenceData() {
      let index = 0;
      for await (const item of data.getInferenceData()) {
        const inputs = toModelInputs(model, item, index++);
        items += inputs.tensors[0].shape[0];
        inputs.dispose();
        yield item;
      }
    },
  };
  const divergence = divergenceLoss(dense, allOf(counted));
  const {loss} = await withProgress('comparing with the dense model', 'batches', (onProgress) =>
    divergence.measure(model, {onProgress, signal}),
  );
  return [0, loss].map((value) => ({metric: divergence.metric, value, items}));
}

/** A model as the tables of a report have it. */
function named(path: string, model: tf.LayersModel): Named {
  return {name: path === THRESHOLDS_OFF ? path : modelName(path), weights: weightFormats(model)};
}

function onlyOne(paths: readonly string[]): string {
  if (paths.length === 1) return paths[0];
  throw new SparsifyError(
    'bad-option',
    `got ${paths.length} models; only language models on text, .txt or .md, are evaluated beside each other: ` +
      'give one, and the other with --baseline',
  );
}

/** Language models: dense and sparse over the same windows. */
async function runOnText(
  paths: readonly string[],
  options: EvaluateOptions,
  signal: AbortSignal,
): Promise<void> {
  const {data, labels, batches, batchSize, windows, protocol, contextLength, json} = options;
  if (labels !== undefined || batches !== undefined || batchSize !== undefined) {
    throw new SparsifyError(
      'bad-option',
      '--labels, --batches and --batch-size do not concern text: see --windows',
    );
  }
  await checkReportPath(options);
  const text = await readText(data);
  const opened: LanguageModel[] = [];
  try {
    const open = async (model: string) => {
      const lm = await openLanguageModel(model, {...options, signal});
      opened.push(lm);
      return lm;
    };
    const baseline = options.baseline === undefined ? undefined : await open(options.baseline);
    const models: LanguageModel[] = [];
    for (const path of paths) models.push(await open(path));
    const comparison = await withProgress(`evaluating ${paths.join(', ')}`, 'windows', (onProgress) =>
      compareWithDense(models, text, {baseline, windows, protocol, contextLength, onProgress, signal}),
    );
    console.log(json === true ? JSON.stringify(comparison, null, 2) : describeComparison(comparison));
    await writeReport(options, async () => {
      const path = paths[paths.length - 1];
      const quality = comparisonTable(comparison, basename(data));
      const inputs = options.baseline === undefined ? paths : [options.baseline, ...paths];
      return contentsOf(knownOf(models[models.length - 1].model), path, {
        quality,
        sparsity: sparsityOn(comparison.sparsity, quality),
        steps: await stepsBeside(path),
        measurement: await thisStep({models: inputs, data}),
      });
    });
  } finally {
    for (const lm of opened) lm.dispose();
  }
}

function checkNoWindows({data, windows, protocol, contextLength}: EvaluateOptions): void {
  if (windows === undefined && protocol === undefined && contextLength === undefined) return;
  throw new SparsifyError(
    'bad-option',
    `--windows, --protocol and --context-length concern text; ${data} holds items: see --batches`,
  );
}

/** What each sparsified layer masks; nothing for a dense model. */
async function sparsityOf(
  model: tf.LayersModel,
  data: Batches,
  signal: AbortSignal,
): Promise<LayerSparsity[]> {
  if (maskingLayers(model).size === 0) return [];
  return withProgress('measuring sparsity', 'batches', (onProgress) =>
    measureSparsity(model, data, {onProgress, signal}),
  );
}

/** Median milliseconds of predicting the first item of the data, for each model. */
async function latencyOfOneItem(models: tf.LayersModel[], data: Batches): Promise<number[]> {
  const one = await firstItems(models[0], data, 1, 'the data set is empty: there is nothing to measure');
  try {
    return await measureLatency(models, one);
  } finally {
    tf.dispose(one);
  }
}

function describe(evaluations: readonly Evaluation[], sparsity: readonly LayerSparsity[]): string {
  const {metric, items} = evaluations[0];
  const table = formatTable(evaluations, [
    {title: 'model', cell: ({model}) => model},
    {
      title: metric,
      cell: ({value}) => (metric === 'accuracy' ? percent(value, 2) : value.toPrecision(5)),
      align: 'right',
    },
    {title: 'latency', cell: ({latencyMs}) => `${latencyMs.toFixed(3)} ms`, align: 'right'},
  ]);
  return `${table}\n\n${items} items${sparsity.length === 0 ? '' : `\n\n${describeSparsity(sparsity)}`}`;
}
