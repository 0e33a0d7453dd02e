/** @file `tfjs-sparsify sparsify`: calibrates a model on data and saves it sparsified. */
import {readFile} from 'node:fs/promises';
import {Command, Option} from 'commander';
import type {FormatAllocation} from '../../allocate-formats.js';
import type {Allocation, AllocationTarget} from '../../metadata/allocation.js';
import {CALIBRATION_METHODS, type CalibrationMethod} from '../../calibration/calibrate.js';
import {savedStatistics} from '../../metadata/attached-statistics.js';
import {compressWeights} from '../../compress.js';
import type {CompressionMode, Int4Options} from '../../compression/compression-options.js';
import {FileError} from '../../errors.js';
import {modelJsonPath} from '../../io/model/file-system.js';
import {checkSavePath, saveLayersModel} from '../../io/model/model-files.js';
import {parseModelJson} from '../../io/model/model-json.js';
import {
  ALLOCATION_SEQUENCES,
  LANGUAGE_CALIBRATION,
  isCheckpoint,
  sparsifyStreamed,
} from '../../language/index.js';
import {parametersOf} from '../../report/model-layers.js';
import {sparsifyActivations} from '../../sparsify.js';
import type {WarningOptions} from '../../warnings.js';
import {
  ALLOCATION_HELP,
  addAllocationOptions,
  allocateForCommand,
  allocateOptionsOf,
  describeAllocation,
  requestedTarget,
  type AllocationOptions,
} from '../automatic-targets.js';
import {
  addDataOptions,
  addTextOptions,
  isTextFile,
  checkDataFormat,
  openData,
  type DataOptions,
} from '../data.js';
import {
  FORMATS_HELP,
  chooseFormat,
  comparesFormats,
  describeFormats,
  formatsOption,
  reportFormats,
  type FormatsOptions,
} from '../formats.js';
import {describeMachine} from '../origin.js';
import {startBackend} from '../backend.js';
import {interruptible} from '../interrupt.js';
import {describeSaved, stepsFrom} from '../write-model-card.js';
import {summarizeLayers} from '../layer-summary.js';
import {MODEL_ARGUMENT, backendOption, openModel, type BackendOptions} from '../model.js';
import {
  ignoreOption,
  ignoredScopeOf,
  addInt4Options,
  compressionModeOption,
  int4OptionsOf,
  jsonOption,
  targetOption,
  withDataOption,
  type TargetOption,
} from '../shared-options.js';
import {withProgress} from '../progress.js';
import {layersJson} from '../layer-list.js';
import {gatherWarnings, printWarnings, warningsJson} from '../warnings.js';
import {
  checkReportPath,
  knownOf,
  reportOption,
  type KnownModel,
  type ReportOptions,
} from '../report-option.js';

const HELP = `
Example:
  $ tfjs-sparsify sparsify models/digits/model.json --data models/digits/calibration-images.npy \\
      --scale 0.00392156862745098 --target '.*=0.5' --ignore digits --out sparse
  $ tfjs-sparsify sparsify SmolLM2-135M-Instruct.Q4_1.gguf --data calibration.txt --calibration nncf \\
      --target '@gate_up=0.3' --target '@down=0.5' --out sparse
  $ tfjs-sparsify sparsify llama-2-7b/ --stream --compress int8_asym --data calibration.txt --target '@all=0.5' --out sparse
  $ tfjs-sparsify sparsify SmolLM2-135M-Instruct.Q4_1.gguf --data calibration.txt --auto --max-loss 2% --out sparse
  $ tfjs-sparsify sparsify models/digits/model.json --data models/digits/calibration-images.npy \\
      --scale 0.00392156862745098 --sparsity 0.7 --allocate local --out sparse

${ALLOCATION_HELP}

--auto, --max-loss, --speedup and --latency choose the format of a language model's weights too, if the data are text, and of another model's
with --formats; without --compress, which says it. ${FORMATS_HELP}

--compress comes first, so that thresholds fit what the layers read in the compressed model. With --with-data it rounds INT4 weights
on the data of --data, which then sets the thresholds.

With --stream a checkpoint larger than the memory is read, compressed, calibrated and written block by block: it takes
one decoder block in float32 and what the layers between two blocks hold for all sequences. The result is the same.

Output of --json, one object:
  out     the folder that holds the sparsified model
  layers  as of inspect
  warnings  [{code, message}]: targets that cannot be met, since many inputs have one magnitude, and the like
  allocation  null with --target; else {method, target, met, sparsity, layers: [{path, weights, target, minimum, maximum,
          predictedError}], probes, curve: [{sparsity, predictedError, loss, lossError, latencyMs, speedup}], chosen: index
          in curve, metric, denseMs}
  formats  null where they were not compared; else {points: [{format, sparsity, loss, lossError, ms}], frontier, chosen, metric,
          denseMs, leftOut: [{format, reason}]}; ms of one prediction, or one token

Progress goes to stderr. Ctrl-C stops between two batches; the folder is written whole or not at all.
Exit code: 0, or 1 if the run failed, 2 on wrong use, 130 after Ctrl-C.`;

interface SparsifyCommandOptions
  extends DataOptions, BackendOptions, AllocationOptions, FormatsOptions, ReportOptions, Int4Options {
  readonly target?: readonly TargetOption[];
  readonly ignore?: readonly string[];
  readonly labels?: string;
  readonly calibration?: CalibrationMethod;
  readonly compress?: CompressionMode;
  readonly withData?: boolean;
  readonly stream?: boolean;
  readonly statistics: boolean;
  readonly out: string;
  readonly json?: boolean;
}

/** The command, to add to a program. */
export function sparsifyCommand(): Command {
  const command = new Command('sparsify')
    .description('calibrate thresholds on data and save the sparsified model')
    .argument('<MODEL>', MODEL_ARGUMENT)
    .addOption(targetOption())
    .addOption(ignoreOption())
    .addOption(
      new Option(
        '-c, --calibration <METHOD>',
        'pooled: quantiles over all data; nncf: the running average of NNCF; sequential: layer by layer, all data at once; by ' +
          'default pooled, or sequential where a language model is allocated',
      ).choices(CALIBRATION_METHODS),
    )
    .option(
      '-l, --labels <FILE>',
      'right classes of the data, .npy, .npz or .jsonl: --max-loss then counts accuracy',
    )
    .addOption(
      compressionModeOption('--compress <MODE>', 'make the weights INT8 or INT4 first, as compress does'),
    )
    .addOption(formatsOption('formats of the weights to choose from'))
    .option(
      '--stream',
      'hold one decoder block in memory at a time; for a GGUF file or a Hugging Face folder',
    )
    .requiredOption('-o, --out <DIR>', 'folder for the sparsified model; an older model in it is replaced')
    .option('--no-statistics', 'do not save the statistics that retarget needs')
    .addOption(backendOption())
    .addOption(reportOption())
    .addOption(jsonOption())
    .addHelpText('after', HELP);
  addInt4Options(command).addOption(withDataOption());
  addAllocationOptions(command);
  return addTextOptions(addDataOptions(command, 'what the model will see')).action(
    (path: string, options: SparsifyCommandOptions) => interruptible((signal) => run(path, options, signal)),
  );
}

async function run(path: string, options: SparsifyCommandOptions, signal: AbortSignal): Promise<void> {
  checkInt4Use(options);
  const asked = requestedTarget(options);
  comparesFormats(asked, options); // refuses what does not go together
  const {out, data, labels, backend, json} = options;
  checkDataFormat(data);
  await checkSavePath(out);
  await checkReportPath(options);
  await startBackend(backend); // the step names it
  const steps = await stepsFrom(path, {models: [path], data, labels});
  const {warnings, onWarning} = gatherWarnings();
  const {known, allocation, formats} =
    options.stream === true
      ? await streamed(path, asked, {...options, onWarning}, signal)
      : await inMemory(path, asked, {...options, onWarning}, signal);
  await describeSaved(
    known,
    out,
    {steps, ...(formats === null ? {} : {formats: reportFormats(formats, describeMachine())})},
    options,
  );
  const {layers} = known;
  if (json === true)
    console.log(
      JSON.stringify(
        {
          out,
          layers: layersJson(layers),
          allocation,
          formats: formatsJson(formats),
          warnings: warningsJson(warnings),
        },
        null,
        2,
      ),
    );
  else {
    const texts = [
      summarizeLayers(layers, out),
      ...(allocation === null ? [] : [describeAllocation(allocation)]),
      ...(formats === null
        ? []
        : [describeFormats(formats, formats.chosen, known.isLanguageModel ? 'token' : 'item')]),
    ];
    console.log([...texts, `saved to ${out}`].join('\n\n'));
    printWarnings(warnings);
  }
}

/** Options of INT4 need `--compress`. */
function checkInt4Use(options: SparsifyCommandOptions): void {
  const {withData, stream} = options;
  if (withData === true && stream === true) {
    throw new FileError(
      'bad-option',
      '--with-data rounds by what all layers read, and --stream holds one decoder block at a time: leave one of them out',
    );
  }
  const [first] = [...Object.keys(int4OptionsOf(options)), ...(withData === true ? ['--with-data'] : [])];
  if (options.compress !== undefined || first === undefined) return;
  throw new FileError(
    'bad-option',
    `the option ${first} is of --compress: add --compress int4_asym, or leave it out`,
  );
}

/** What was saved, and where its targets came from if they were allocated. */
interface Sparsified {
  readonly known: KnownModel;
  readonly allocation: Allocation | null;
  /** Null where they were not compared. */
  readonly formats: FormatAllocation | null;
}

/** The allocation stands beside it. */
function formatsJson(formats: FormatAllocation | null) {
  if (formats === null) return null;
  const {allocation: _allocation, ...rest} = formats;
  return rest;
}

async function streamed(
  path: string,
  asked: AllocationTarget | null,
  options: SparsifyCommandOptions & WarningOptions,
  signal: AbortSignal,
): Promise<Sparsified> {
  const {target, ignore, calibration, compress, statistics, out, onWarning} = options;
  if (asked !== null) {
    throw new FileError(
      'bad-option',
      '--stream takes targets by pattern: give --target, not --sparsity or --auto',
    );
  }
  if (!(await isCheckpoint(path))) {
    throw new FileError(
      'bad-option',
      `--stream reads checkpoints, and ${path} is none: name a GGUF file or a Hugging Face folder`,
      {path},
    );
  }
  const layers = await withProgress('sparsifying', 'parts', (onProgress) =>
    sparsifyStreamed(path, out, {
      data: (model) => openData(model, options),
      compress,
      ...(compress === undefined ? {} : {compressOptions: int4OptionsOf(options)}),
      targetSparsityByScope: target,
      ignoredScope: ignoredScopeOf(ignore),
      calibration,
      saveStatistics: statistics,
      onProgress,
      onWarning,
      signal,
    }),
  );
  const jsonPath = modelJsonPath(out);
  const {userDefinedMetadata} = parseModelJson(await readFile(jsonPath, 'utf8'), jsonPath);
  const known = {
    layers,
    statistics: savedStatistics(userDefinedMetadata),
    isLanguageModel: true,
    weights: [],
    parameters: parametersOf(layers),
  };
  return {known, allocation: null, formats: null};
}

async function inMemory(
  path: string,
  asked: AllocationTarget | null,
  options: SparsifyCommandOptions & WarningOptions,
  signal: AbortSignal,
): Promise<Sparsified> {
  const {target, ignore, calibration: method, compress, withData, statistics, out, onWarning} = options;
  const isAllocatedText = asked !== null && isTextFile(options.data);
  const calibration = isAllocatedText
    ? {...LANGUAGE_CALIBRATION, ...(method === undefined ? {} : {method})}
    : (method ?? 'pooled');
  const {model, formats} = comparesFormats(asked, options)
    ? await chooseFormat(path, asked!, await allocateOptionsOf(calibration, options), options, signal)
    : {formats: null, model: await openAsAsked(path, options, signal)};
  if (compress !== undefined) {
    const asked = int4OptionsOf(options);
    const needsData = asked.ratio !== undefined || withData === true;
    const dataset = needsData ? {dataset: await openData(model, options), dataAware: withData} : {};
    await withProgress('compressing', 'weights', (onProgress) =>
      compressWeights(model, {mode: compress, ...asked, ...dataset, inPlace: true, onProgress, signal}),
    );
  }
  const allocation =
    formats?.allocation ??
    (asked === null ? null : await allocateForCommand(model, asked, calibration, options, signal));
  const data = await openData(model, isAllocatedText ? {...ALLOCATION_SEQUENCES, ...options} : options);
  const {method: chosen} = typeof calibration === 'string' ? {method: calibration} : calibration;
  const unit = chosen === 'sequential' ? 'steps' : 'batches';
  await withProgress('calibrating', unit, (onProgress) =>
    sparsifyActivations(model, data, {
      targetSparsityByScope: allocation ?? target!,
      ignoredScope: allocation === null ? ignoredScopeOf(ignore) : null,
      calibration,
      inPlace: true,
      saveStatistics: statistics,
      onProgress,
      onWarning,
      signal,
    }),
  );
  const known = knownOf(model);
  await saveLayersModel(model, out, {signal});
  model.dispose();
  return {known, allocation, formats};
}

function openAsAsked(path: string, options: SparsifyCommandOptions, signal: AbortSignal) {
  return openModel(path, {
    ...options,
    signal,
    // What is compressed anew comes from the weights themselves.
    weights: options.compress === undefined ? undefined : 'float32',
  });
}
