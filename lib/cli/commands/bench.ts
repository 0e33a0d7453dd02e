/** @file `tfjs-sparsify bench`: what sparsity does to the speed of a model on this machine, layer by layer. */
import {Command} from 'commander';
import {benchModel, type ModelBench} from '../../eval/bench-model.js';
import type {LayerTimes} from '../../eval/layer-times.js';
import {checkModel} from '../../model/dense-layers.js';
import {startBackend} from '../backend.js';
import {BENCH_SEQUENCE_LENGTH, openBenchInputs, type BenchInputOptions} from '../bench-inputs.js';
import {addTextOptions} from '../data.js';
import {interruptible} from '../interrupt.js';
import {MODEL_ARGUMENT, backendOption, openModel, type BackendOptions} from '../model.js';
import {
  FORMATS_HELP,
  compareForCommand,
  describeFastest,
  describeFormats,
  formatsOption,
  reportFormats,
  unitOfModel,
  type FormatsOptions,
} from '../formats.js';
import {SparsifyError} from '../../errors.js';
import {countOption, jsonOption, numberOption, shareOption} from '../shared-options.js';
import {stepsBeside} from '../write-model-card.js';
import {describeMachine, thisStep} from '../origin.js';
import {withoutCredentials} from '../../io/files/url-credentials.js';
import {withProgress} from '../progress.js';
import {
  checkReportPath,
  contentsOf,
  knownOf,
  reportOption,
  writeReport,
  type ReportOptions,
} from '../report-option.js';
import {formatTable, percent, type Column} from '../text-table.js';

const HELP = `
Example:
  $ tfjs-sparsify bench models/digits/model.json --data models/digits/test-images.npy --scale 0.00392156862745098
  $ tfjs-sparsify bench SmolLM2-135M-Instruct.Q4_1.gguf --data text.txt --formats all

Each Dense layer is timed in turns, stock and sparsified at 0, 30, 50, 70 and 90 %, on random inputs of the shape that
a prediction gives it: break-even is the sparsity below which the layer is faster dense. "predicted" is the model's
latency if all its layers had that sparsity, "measured" that of the model sparsified at 50 %, with thresholds found
on the data, or on random inputs without any. A model of token ids needs --data. A language model on text is timed on
single tokens, the shape of decoding, unless --sequence-length says otherwise; generate tells the speed of decoding with
its cache.

With --formats the formats of the model's weights are compared too, which takes minutes for a language model: the end of a text, or every fourth
batch, is what a loss is measured on. ${FORMATS_HELP}

Output of --json, one object:
  model, backend, rows
  skipsRows  false if the backend has no kernel that skips rows: no sparsity makes a layer faster then
  layers     [{path, inputSize, units, rows, calls, denseMs, times, breakEven}]: rows of its input in one call, calls in
             one prediction, milliseconds of one call of the stock layer, times [{sparsity, ms}] of the sparsified one;
             breakEven in [0, 1], or null if the layer gains at none of these
  denseMs    median milliseconds of one prediction of the dense model
  predicted  [{sparsity, ms, speedup}]
  measured   [{sparsity, ms, speedup}]
  formats    with --formats: {points: [{format, sparsity, loss, lossError, ms}], frontier, metric, denseMs, leftOut: [{format, reason}]};
             ms of one prediction, or one token

Exit code: 0, or 1 if the run failed, 2 on wrong use, 130 after Ctrl-C.`;

/** Of so many layers the names are given. */
const NAMED = 8;

interface BenchOptions extends BackendOptions, BenchInputOptions, FormatsOptions, ReportOptions {
  readonly maxLoss?: number;
  readonly json?: boolean;
}

/** The command, to add to a program. */
export function benchCommand(): Command {
  const command = new Command('bench')
    .description('which layers of a model get faster on this machine, from which sparsity on')
    .argument('<MODEL>', MODEL_ARGUMENT)
    .option(
      '-d, --data <FILE>',
      'inputs to time it on: .npy, .npz, .jsonl, a .mjs that exports a data set, or text, .txt or .md, for a language ' +
        'model; random by default',
    )
    .addOption(numberOption('--scale <FACTOR>', 'multiply the values of the file by this, as 0.00392'))
    .addOption(countOption('-r, --rows <N>', 'items in one prediction').default(1))
    .addOption(formatsOption('compare formats of the weights'))
    .addOption(
      shareOption(
        '--max-loss <SHARE>',
        'of --formats: the loss that the fastest is named for, as 2% or 0.02',
      ),
    )
    .addOption(backendOption())
    .addOption(reportOption())
    .addOption(jsonOption())
    .addHelpText('after', HELP);
  return addTextOptions(command, BENCH_SEQUENCE_LENGTH).action((path: string, options: BenchOptions) =>
    interruptible((signal) => run(path, options, signal)),
  );
}

async function run(path: string, options: BenchOptions, signal: AbortSignal): Promise<void> {
  if (options.maxLoss !== undefined && options.formats === undefined) {
    throw new SparsifyError('bad-option', '--max-loss is of --formats: add --formats all, or leave it out');
  }
  await checkReportPath(options);
  const {name: backend} = await startBackend(options.backend); // before the model, which openModel puts on it
  const model = await openModel(path, {...options, signal});
  checkModel(model);
  const {rows} = options;
  const inputs = await openBenchInputs(model, options);
  try {
    const bench = await withProgress('timing', 'rounds', (onProgress) =>
      benchModel(model, inputs.tensors, inputs.calibration, {onProgress, signal}),
    );
    const formats = options.formats === undefined ? null : await compareForCommand(path, options, signal);
    const compared = formats === null ? {} : {formats};
    if (options.json === true)
      console.log(
        JSON.stringify({model: withoutCredentials(path), backend, rows, ...bench, ...compared}, null, 2),
      );
    else {
      console.log(describe(bench, backend, rows));
      if (formats !== null) {
        const table = describeFormats(formats, null, unitOfModel(model));
        console.log(`\n${table}\n\n${describeFastest(formats, options.maxLoss)}`);
      }
    }
    await writeReport(options, async () =>
      contentsOf(knownOf(model), path, {
        bench: {...bench, rows, on: describeMachine()},
        ...(formats === null ? {} : {formats: reportFormats(formats, describeMachine())}),
        steps: await stepsBeside(path),
        measurement: await thisStep({models: [path], data: options.data}),
      }),
    );
  } finally {
    inputs.dispose();
    model.dispose();
  }
}

function describe(bench: ModelBench, backend: string, rows: number): string {
  const {layers, denseMs, predicted, measured, skipsRows} = bench;
  const models = [
    {name: 'dense', ms: denseMs, speedup: 1},
    ...predicted.map((latency) => ({name: `predicted at ${percent(latency.sparsity, 0)}`, ...latency})),
    ...measured.map((latency) => ({name: `measured at ${percent(latency.sparsity, 0)}`, ...latency})),
  ];
  const lines = [
    formatTable(layers, layerColumns(layers)),
    '',
    ...describeBreakEvens(layers),
    '',
    formatTable(models, [
      {title: 'model', cell: ({name}) => name},
      {title: 'latency', cell: ({ms}) => `${ms.toFixed(3)} ms`, align: 'right'},
      {title: 'against dense', cell: ({speedup}) => `${speedup.toFixed(2)}x`, align: 'right'},
    ]),
    '',
    `medians, ${rows} item${rows === 1 ? '' : 's'} in a prediction, backend ${backend}`,
  ];
  const hint =
    `backend ${backend} has no kernel that skips rows here, so sparsity gains no time; tfjs-sparsify doctor tells ` +
    'what would';
  return (skipsRows ? lines : [...lines, hint]).join('\n');
}

/** One column of gains for each sparsity. */
function layerColumns([first]: readonly LayerTimes[]): Column<LayerTimes>[] {
  const gains = first.times.map(({sparsity}, i): Column<LayerTimes> => {
    const gain = ({denseMs, times}: LayerTimes) => `${(denseMs / times[i].ms).toFixed(2)}x`;
    return {title: percent(sparsity, 0), cell: gain, align: 'right'};
  });
  return [
    {title: 'layer', cell: ({path}) => path},
    {title: 'inputs x units', cell: ({inputSize, units}) => `${inputSize} x ${units}`, align: 'right'},
    {title: 'rows', cell: ({rows}) => String(rows), align: 'right'},
    {title: 'calls', cell: ({calls}) => String(calls), align: 'right'},
    {title: 'dense ms', cell: ({denseMs}) => denseMs.toFixed(3), align: 'right'},
    ...gains,
  ];
}

/** One line a layer, or one for all of which the same is to be said. */
export function describeBreakEvens(layers: readonly LayerTimes[]): string[] {
  const paths = new Map<string, string[]>();
  for (const {path, breakEven} of layers) {
    const said = describeBreakEven(breakEven);
    paths.set(said, [...(paths.get(said) ?? []), path]);
  }
  return [...paths].map(([said, paths]) => {
    const who = paths.length <= NAMED ? paths.join(', ') : `${paths.length} layers`;
    return `${who}: ${said}`;
  });
}

function describeBreakEven(breakEven: number | null): string {
  if (breakEven === null) return 'faster dense at every sparsity';
  if (breakEven === 0) return 'faster sparsified, even with nothing masked';
  return `faster dense below ${percent(breakEven, 0)}`;
}
