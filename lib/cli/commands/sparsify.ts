/** @file `tfjs-sparsify sparsify`: calibrates a model on data and saves it sparsified. */
import {Command, Option} from 'commander';
import type {CalibrationMethod} from '../../calibration/calibrate.js';
import {compressWeights} from '../../compress.js';
import {loadBackend} from '../../backend/load.js';
import {FileError} from '../../errors.js';
import {checkSavePath, saveLayersModel} from '../../io/model-files.js';
import {inspect, type DenseReport} from '../../model/inspect.js';
import type {Int8Mode} from '../../quantization/int8.js';
import {isCheckpoint, sparsifyStreamed} from '../../../models/llama/index.js';
import {sparsifyActivations} from '../../sparsify.js';
import {addDataOptions, addTextOptions, openData, type DataOptions} from '../data.js';
import {interruptible} from '../interrupt.js';
import {MODEL_ARGUMENT, backendOption, openModel, type BackendOptions} from '../model.js';
import {
  ignoreOption,
  ignoredScopeOf,
  int8ModeOption,
  jsonOption,
  targetOption,
  type TargetOption,
} from '../options.js';
import {withProgress} from '../progress.js';
import {describeLayers, layersJson} from '../report.js';

const HELP = `
Example:
  $ tfjs-sparsify sparsify models/digits/model.json --data models/digits/calibration-images.npy \\
      --scale 0.00392156862745098 --target '.*=0.5' --ignore digits --out sparse
  $ tfjs-sparsify sparsify SmolLM2-135M-Instruct.Q4_1.gguf --data calibration.txt --calibration nncf \\
      --target '@gate_up=0.3' --target '@down=0.5' --out sparse
  $ tfjs-sparsify sparsify llama-2-7b/ --stream --compress int8_asym --data calibration.txt --target '@all=0.5' --out sparse

With --stream a checkpoint larger than the memory is read, compressed, calibrated and written block by block: it takes
one decoder block in float32 and what the layers between two blocks hold for all sequences. The result is the same.

Output of --json, one object:
  out     the folder that holds the sparsified model
  layers  as of inspect

Progress goes to stderr. Ctrl-C stops between two batches; the folder is written whole or not at all.
Exit code: 0, or 1 if the run failed, 2 on wrong use, 130 after Ctrl-C.`;

interface SparsifyCommandOptions extends DataOptions, BackendOptions {
  readonly target: readonly TargetOption[];
  readonly ignore?: readonly string[];
  readonly calibration: CalibrationMethod;
  readonly compress?: Int8Mode;
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
        'pooled: quantiles over all data; nncf: the running average of NNCF',
      )
        .choices(['pooled', 'nncf'])
        .default('pooled'),
    )
    .addOption(int8ModeOption('--compress <MODE>', 'make all weights INT8 first, as compress does'))
    .option(
      '--stream',
      'hold one decoder block in memory at a time; for a GGUF file or a Hugging Face folder',
    )
    .requiredOption('-o, --out <DIR>', 'folder for the sparsified model; an older model in it is replaced')
    .option('--no-statistics', 'do not save the statistics that retarget needs')
    .addOption(backendOption())
    .addOption(jsonOption())
    .addHelpText('after', HELP);
  return addTextOptions(addDataOptions(command, 'what the model will see')).action(
    (path: string, options: SparsifyCommandOptions) => interruptible((signal) => run(path, options, signal)),
  );
}

async function run(path: string, options: SparsifyCommandOptions, signal: AbortSignal): Promise<void> {
  await checkSavePath(options.out);
  const {out, json} = options;
  const layers = await (options.stream === true ? streamed : inMemory)(path, options, signal);
  if (json === true) console.log(JSON.stringify({out, layers: layersJson(layers)}, null, 2));
  else console.log(`${describeLayers(layers)}\n\nsaved to ${out}`);
}

async function streamed(
  path: string,
  options: SparsifyCommandOptions,
  signal: AbortSignal,
): Promise<DenseReport[]> {
  const {target, ignore, calibration, compress, statistics, out, backend} = options;
  if (!(await isCheckpoint(path))) {
    throw new FileError(
      'bad-option',
      `--stream reads checkpoints, and ${path} is none: name a GGUF file or a Hugging Face folder`,
      {path},
    );
  }
  await loadBackend({name: backend});
  return withProgress('sparsifying', 'parts', (onProgress) =>
    sparsifyStreamed(path, out, {
      data: (model) => openData(model, options),
      compress,
      targetSparsityByScope: target,
      ignoredScope: ignoredScopeOf(ignore),
      calibration,
      saveStatistics: statistics,
      onProgress,
      signal,
    }),
  );
}

async function inMemory(
  path: string,
  options: SparsifyCommandOptions,
  signal: AbortSignal,
): Promise<DenseReport[]> {
  const {target, ignore, calibration, compress, statistics, out} = options;
  const model = await openModel(path, {...options, signal});
  const data = await openData(model, options);
  if (compress !== undefined) {
    await withProgress('compressing', 'weights', (onProgress) =>
      compressWeights(model, {mode: compress, inPlace: true, onProgress, signal}),
    );
  }
  await withProgress('calibrating', 'batches', (onProgress) =>
    sparsifyActivations(model, data, {
      targetSparsityByScope: target,
      ignoredScope: ignoredScopeOf(ignore),
      calibration,
      inPlace: true,
      saveStatistics: statistics,
      onProgress,
      signal,
    }),
  );
  await saveLayersModel(model, out, {signal});
  const layers = inspect(model);
  model.dispose();
  return layers;
}
