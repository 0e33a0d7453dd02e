/** @file `tfjs-sparsify evaluate`: quality, actual sparsity and latency of a model, beside a baseline if given. */
import * as tf from '@tensorflow/tfjs';
import {Command} from 'commander';
import {toModelInputs} from '../../calibration/model-inputs.js';
import type {Batches} from '../../dataset.js';
import {DatasetError} from '../../errors.js';
import {measureLatency} from '../../eval/latency.js';
import {measureSparsity, type LayerSparsity} from '../../eval/measure-sparsity.js';
import {measureQuality, type Quality} from '../../eval/quality.js';
import {readLabels} from '../../io/labels.js';
import {sparsifyingLayers} from '../../model/dense-layers.js';
import {addDataOptions, openData, type DataOptions} from '../data.js';
import {interruptible} from '../interrupt.js';
import {MODEL_ARGUMENT, backendOption, openModel, type BackendOptions} from '../model.js';
import {jsonOption} from '../options.js';
import {withProgress} from '../progress.js';
import {describeSparsity} from '../report.js';
import {formatTable, percent} from '../table.js';

const HELP = `
Example:
  $ tfjs-sparsify evaluate sparse --baseline models/digits/model.json --scale 0.00392156862745098 \\
      --data models/digits/test-images.npy --labels models/digits/test-labels.npy

Labels are class indices, one-hot rows (accuracy) or numbers (mean squared error). Latency is the median of one
prediction of one item, the models run in turns. With --batches the labels of later items are left out.

Output of --json, one object:
  models    [{model, metric, value, items, latencyMs}], the baseline first if there is one
  sparsity  [{path, target, actual}] of MODEL on the data; empty if it is not sparsified

Exit code: 0, or 1 if the run failed, 2 on wrong use, 130 after Ctrl-C.`;

interface EvaluateOptions extends DataOptions, BackendOptions {
  readonly labels: string;
  readonly baseline?: string;
  readonly json?: boolean;
}

/** One line of the result. */
interface Evaluation extends Quality {
  readonly model: string;
  readonly latencyMs: number;
}

/** The command, to add to a program. */
export function evaluateCommand(): Command {
  const command = new Command('evaluate')
    .description('quality, actual sparsity and latency of a model on labelled data')
    .argument('<MODEL>', MODEL_ARGUMENT)
    .requiredOption('-l, --labels <FILE>', 'what the model should give: .npy, .npz or .jsonl')
    .option('--baseline <MODEL>', 'another model to put beside it, the dense one say')
    .addOption(backendOption())
    .addOption(jsonOption())
    .addHelpText('after', HELP);
  return addDataOptions(command, 'data that calibration never saw').action(
    (path: string, options: EvaluateOptions) => interruptible((signal) => run(path, options, signal)),
  );
}

async function run(path: string, options: EvaluateOptions, signal: AbortSignal): Promise<void> {
  const paths = options.baseline === undefined ? [path] : [options.baseline, path];
  const labels = await readLabels(options.labels);
  const models: tf.LayersModel[] = [];
  for (const path of paths) models.push(await openModel(path, options));
  const model = models[models.length - 1];
  const data = await openData(model, options);
  const partial = options.batches !== undefined;

  const qualities: Quality[] = [];
  for (const [i, model] of models.entries()) {
    const quality = await withProgress(`evaluating ${paths[i]}`, 'batches', (onProgress) =>
      measureQuality(model, data, labels, {onProgress, signal, partial}),
    );
    qualities.push(quality);
  }
  const sparsity = await sparsityOf(model, data, signal);
  const latencies = await latencyOfOneItem(models, data);
  signal.throwIfAborted();
  models.forEach((model) => model.dispose());

  const evaluations = qualities.map((quality, i) => ({
    model: paths[i],
    ...quality,
    latencyMs: latencies[i],
  }));
  if (options.json === true) console.log(JSON.stringify({models: evaluations, sparsity}, null, 2));
  else console.log(describe(evaluations, sparsity));
}

/** What each sparsified layer masks; nothing for a dense model. */
async function sparsityOf(
  model: tf.LayersModel,
  data: Batches,
  signal: AbortSignal,
): Promise<LayerSparsity[]> {
  if (sparsifyingLayers(model).size === 0) return [];
  return withProgress('measuring sparsity', 'batches', (onProgress) =>
    measureSparsity(model, data, {onProgress, signal}),
  );
}

/** Median milliseconds of predicting the first item of the data, for each model. */
async function latencyOfOneItem(models: tf.LayersModel[], data: Batches): Promise<number[]> {
  for await (const batch of data.getInferenceData()) {
    const inputs = toModelInputs(models[0], batch, 0);
    const one = inputs.tensors.map((tensor) => tf.slice(tensor, 0, 1));
    try {
      return await measureLatency(models, one);
    } finally {
      tf.dispose(one);
      inputs.dispose();
    }
  }
  throw new DatasetError('empty', 'the data set is empty: there is nothing to measure');
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
