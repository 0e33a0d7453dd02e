/** @file `tfjs-sparsify report`: what is known of a model, and what is measured of it, as one HTML page. */
import type * as tf from '@tensorflow/tfjs';
import {basename} from 'node:path';
import {Command} from 'commander';
import {isLanguageModel} from '../../language/index.js';
import {SparsifyError} from '../../errors.js';
import {benchModel} from '../../eval/bench-model.js';
import {denseCopy} from '../../eval/dense-copy.js';
import {writeTextFile} from '../../io/files/atomic-file.js';
import {checkFilePath} from '../../io/files/check-file-path.js';
import {maskingLayers} from '../../model/dense-layers.js';
import type {ReportContents} from '../../report/report-contents.js';
import {renderReport} from '../../report/render-report.js';
import {openBenchInputs} from '../bench-inputs.js';
import {addDataOptions, isTextFile, type DataOptions} from '../data.js';
import {interruptible} from '../interrupt.js';
import {stepsBeside, writeModelCard} from '../write-model-card.js';
import {MODEL_ARGUMENT, backendOption, openModel, type BackendOptions} from '../model.js';
import {jsonOption} from '../shared-options.js';
import {describeMachine, thisStep} from '../origin.js';
import {withProgress} from '../progress.js';
import {contentsOf, knownOf, modelName, type Found} from '../report-option.js';
import {THRESHOLDS_OFF, weightFormats} from '../report-tables.js';
import {measureItems, measureText, type ReportModel} from '../report-measurement.js';
import {WINDOWS_HELP, addWindowOptions, type WindowCommandOptions} from '../windows.js';

const HELP = `
Example:
  $ tfjs-sparsify report sparse
  $ tfjs-sparsify report sparse --scale 0.00392156862745098 --bench --out digits.html \\
      --data models/digits/test-images.npy --labels models/digits/test-labels.npy
  $ tfjs-sparsify report sparse-lm --baseline int8-lm --data wikitext-2-test.txt --protocol token --windows 2

One HTML file without scripts and without anything from outside. What the model itself tells is always in it: layers,
targets, thresholds and, if it was saved with its statistics, the histogram of each layer's inputs. With --data the
actual sparsity, the error of each layer's output, quality and latency are measured too, beside the dense model (the
first --baseline, else the model with its thresholds off); with --bench the times of all layers. ${WINDOWS_HELP}

Output of --json, one object:
  out       the file
  contents  what it shows: name, unit, parameters, measured: {layers, actualOn, errorsOn}, allocation, quality, latency,
            bench, steps, measurement; null where it is not known

Exit code: 0, or 1 if the run failed, 2 on wrong use, 130 after Ctrl-C.`;

interface ReportCommandOptions extends Omit<DataOptions, 'data'>, BackendOptions, WindowCommandOptions {
  readonly data?: string;
  readonly labels?: string;
  readonly baseline?: readonly string[];
  readonly bench?: boolean;
  readonly card?: boolean;
  readonly out: string;
  readonly json?: boolean;
}

/** The command, to add to a program. */
export function reportCommand(): Command {
  const command = new Command('report')
    .description('what is known of a model, and what it loses and gains on data, as one HTML page')
    .argument('<MODEL>', MODEL_ARGUMENT)
    .option('-l, --labels <FILE>', 'what the model should give: .npy, .npz or .jsonl; not with text')
    .option('--baseline <MODEL>', 'a model to put beside it, the dense one first; repeatable', collect)
    .option('--bench', 'time every layer, dense and sparse, as bench does')
    .option('--card', "write the figures into the model's README.md too, if it is one of ours")
    .option('-o, --out <FILE>', 'the HTML file', 'report.html')
    .addOption(backendOption())
    .addOption(jsonOption())
    .addHelpText('after', HELP);
  addWindowOptions(addDataOptions(command, 'data that calibration never saw'));
  command.options.find(({long}) => long === '--data')!.makeOptionMandatory(false);
  return command.action((path: string, options: ReportCommandOptions) =>
    interruptible((signal) => run(path, options, signal)),
  );
}

async function run(path: string, options: ReportCommandOptions, signal: AbortSignal): Promise<void> {
  const {data, labels, baseline = [], out, json, card} = options;
  checkOptions(options);
  await checkFilePath(out);
  const opened: tf.LayersModel[] = [];
  try {
    const models: ReportModel[] = [];
    for (const model of [...baseline, path]) {
      opened.push(await openModel(model, {...options, signal}));
      const [last] = opened.slice(-1);
      models.push({name: modelName(model), weights: weightFormats(last), model: last, isDense: false});
    }
    const own = opened[opened.length - 1];
    if (data !== undefined && baseline.length === 0 && maskingLayers(own).size > 0) {
      opened.push(denseCopy(own));
      const [copy] = opened.slice(-1);
      models.unshift({
        name: THRESHOLDS_OFF,
        weights: weightFormats(own),
        model: copy,
        isDense: true,
      });
    } else if (models.length > 1) {
      models[0] = {...models[0], isDense: true};
    }
    const measured = await measure(models, options, signal);
    const bench = options.bench === true ? await timed(own, options, signal) : null;
    const contents = contentsOf(knownOf(own), path, {
      ...measured,
      bench,
      steps: await stepsBeside(path),
      measurement: await thisStep({models: [...baseline, path], data, labels}),
    });
    await writeTextFile(out, await renderReport(contents));
    if (card === true) await writeModelCard(path, contents, {isLanguageModel: isLanguageModel(own)});
    console.log(json === true ? JSON.stringify({out, contents}, null, 2) : `saved to ${out}`);
  } finally {
    opened.reverse().forEach((model) => model.dispose());
  }
}

function measure(
  models: readonly ReportModel[],
  {data, ...options}: ReportCommandOptions,
  signal: AbortSignal,
): Promise<Found> {
  if (data === undefined) return Promise.resolve({});
  const given = {...options, data, name: basename(data), signal};
  return isTextFile(data) ? measureText(models, given) : measureItems(models, given);
}

async function timed(
  model: tf.LayersModel,
  {data, scale}: ReportCommandOptions,
  signal: AbortSignal,
): Promise<ReportContents['bench']> {
  const rows = 1;
  const inputs = await openBenchInputs(model, {data, scale, rows});
  try {
    const bench = await withProgress('timing', 'rounds', (onProgress) =>
      benchModel(model, inputs.tensors, inputs.calibration, {onProgress, signal}),
    );
    return {...bench, rows, on: describeMachine()};
  } finally {
    inputs.dispose();
  }
}

function checkOptions({
  data,
  labels,
  baseline,
  batches,
  batchSize,
  windows,
  ...others
}: ReportCommandOptions): void {
  const fail = (text: string) => new SparsifyError('bad-option', text);
  if (data === undefined) {
    if (labels !== undefined || baseline !== undefined) throw fail('--labels and --baseline need --data');
    return;
  }
  const {protocol, contextLength} = others;
  if (isTextFile(data)) {
    if (labels !== undefined || batches !== undefined || batchSize !== undefined)
      throw fail('--labels, --batches and --batch-size do not concern text: see --windows');
  } else if (windows !== undefined || protocol !== undefined || contextLength !== undefined) {
    throw fail(`--windows, --protocol and --context-length concern text; ${data} holds items: see --batches`);
  }
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}
