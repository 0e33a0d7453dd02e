/** @file `tfjs-sparsify compress`: saves a model with INT8 or INT4 weights. */
import {Command} from 'commander';
import {compressWeights, inspectWeights} from '../../compress.js';
import {
  COMPRESSION_MODES,
  type CompressionMode,
  type Int4Options,
} from '../../compression/compression-options.js';
import {FileError} from '../../errors.js';
import {checkSavePath, saveLayersModel} from '../../io/model/model-files.js';
import {addDataOptions, addTextOptions, checkDataFormat, openData, type DataOptions} from '../data.js';
import {interruptible} from '../interrupt.js';
import {summarizeWeights} from '../layer-summary.js';
import {MODEL_ARGUMENT, backendOption, openModel, type BackendOptions} from '../model.js';
import {describeSaved, stepsFrom} from '../write-model-card.js';
import {
  addInt4Options,
  compressionModeOption,
  ignoreOption,
  ignoredScopeOf,
  int4OptionsOf,
  jsonOption,
  withDataOption,
} from '../shared-options.js';
import {withProgress} from '../progress.js';
import {knownOf} from '../report-option.js';

const HELP = `
Example:
  $ tfjs-sparsify compress models/digits/model.json --out small
  $ tfjs-sparsify compress lm --mode int4_asym --group-size 64 --out tiny
  $ tfjs-sparsify compress lm --mode int4_asym --group-size 64 --with-data --data text.txt --out tiny
  $ tfjs-sparsify compress lm --mode int4_sym --group-size 64 --ratio 0.8 --data text.txt --out tiny

Dense, embedding and convolution layers get INT8 weights with a scale (and a zero point) an output channel; biases and
other layers stay float32. In the INT4 modes the Dense layers but the last get INT4 weights with a scale (and a zero point) a
group of inputs, and all others the backup, which is INT8. --with-data rounds the INT4 weights by what their layers read in the
data, all of which is held between two layers: text that is like the model's own loses least. Before or after sparsify; sparsify --compress does both.

Output of --json, one object:
  out      the folder that holds the compressed model
  weights  [{path, type, weight, shape, format, bytes}] of every weight that is packed or could be, in the order of the
           graph; format is float32, int8_asym, int8_sym, int4_asym, int4_sym or int4_minimum, bytes counts scales and zero
           points

Progress goes to stderr. Ctrl-C stops between two weights; the folder is written whole or not at all.
Exit code: 0, or 1 if the run failed, 2 on wrong use, 130 after Ctrl-C.`;

interface CompressCommandOptions extends BackendOptions, Int4Options, Partial<DataOptions> {
  readonly mode: CompressionMode;
  readonly withData?: boolean;
  readonly ignore?: readonly string[];
  readonly out: string;
  readonly json?: boolean;
}

/** The command, to add to a program. */
export function compressCommand(): Command {
  const command = new Command('compress')
    .description('save a model with INT8 or INT4 weights')
    .argument('<MODEL>', MODEL_ARGUMENT)
    .addOption(
      compressionModeOption('-m, --mode <MODE>', 'with zero points, or symmetric').default(
        COMPRESSION_MODES[0],
      ),
    )
    .addOption(ignoreOption())
    .requiredOption('-o, --out <DIR>', 'folder for the compressed model; an older model in it is replaced')
    .addOption(backendOption())
    .addOption(jsonOption())
    .addHelpText('after', HELP);
  addInt4Options(command).addOption(withDataOption());
  return addTextOptions(
    addDataOptions(command, 'of INT4: what --with-data and a ratio below 1 measure layers on', false),
  ).action((path: string, options: CompressCommandOptions) =>
    interruptible((signal) => run(path, options, signal)),
  );
}

async function run(path: string, options: CompressCommandOptions, signal: AbortSignal): Promise<void> {
  const {mode, ignore, data, withData, out, json} = options;
  if (withData === true && data === undefined) {
    throw new FileError(
      'bad-option',
      '--with-data rounds by what the layers read: give --data, or leave it out',
    );
  }
  if (data !== undefined) checkDataFormat(data);
  await checkSavePath(out);
  const model = await openModel(path, {...options, weights: 'float32'});
  const dataset =
    data === undefined ? {} : {dataset: await openData(model, {...options, data}), dataAware: withData};
  await withProgress('compressing', 'weights', (onProgress) =>
    compressWeights(model, {
      ...{mode, ...int4OptionsOf(options), ...dataset},
      ignoredScope: ignoredScopeOf(ignore),
      ...{inPlace: true, onProgress, signal},
    }),
  );
  const steps = await stepsFrom(path, {models: [path], data});
  const known = knownOf(model); // what could fail does so before anything is written
  const weights = inspectWeights(model);
  await saveLayersModel(model, out, {signal});
  await describeSaved(known, out, {steps});
  model.dispose();
  if (json === true) console.log(JSON.stringify({out, weights}, null, 2));
  else console.log(`${summarizeWeights(weights)}\n\nsaved to ${out}`);
}
