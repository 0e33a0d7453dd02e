/** @file `tfjs-sparsify compress`: saves a model with INT8 weights. */
import {Command} from 'commander';
import {compressWeights, inspectWeights} from '../../compress.js';
import {checkSavePath, saveLayersModel} from '../../io/model/model-files.js';
import {INT8_MODES, type Int8Mode} from '../../quantization/int8.js';
import {interruptible} from '../interrupt.js';
import {summarizeWeights} from '../layer-summary.js';
import {MODEL_ARGUMENT, backendOption, openModel, type BackendOptions} from '../model.js';
import {describeSaved, stepsFrom} from '../write-model-card.js';
import {ignoreOption, ignoredScopeOf, int8ModeOption, jsonOption} from '../shared-options.js';
import {withProgress} from '../progress.js';
import {knownOf} from '../report-option.js';

const HELP = `
Example:
  $ tfjs-sparsify compress models/digits/model.json --out small

Dense, embedding and convolution layers get INT8 weights with a scale (and a zero point) an output channel; biases and
other layers stay float32. Before or after sparsify; sparsify --compress does both.

Output of --json, one object:
  out      the folder that holds the compressed model
  weights  [{path, type, weight, shape, format, bytes}] of every weight that is INT8 or could be, in the order of the
           graph; format is float32, int8_asym or int8_sym, bytes counts scales and zero points

Progress goes to stderr. Ctrl-C stops between two weights; the folder is written whole or not at all.
Exit code: 0, or 1 if the run failed, 2 on wrong use, 130 after Ctrl-C.`;

interface CompressCommandOptions extends BackendOptions {
  readonly mode: Int8Mode;
  readonly ignore?: readonly string[];
  readonly out: string;
  readonly json?: boolean;
}

/** The command, to add to a program. */
export function compressCommand(): Command {
  return new Command('compress')
    .description('save a model with INT8 weights')
    .argument('<MODEL>', MODEL_ARGUMENT)
    .addOption(
      int8ModeOption('-m, --mode <MODE>', 'with a zero point a channel, or symmetric').default(INT8_MODES[0]),
    )
    .addOption(ignoreOption())
    .requiredOption('-o, --out <DIR>', 'folder for the compressed model; an older model in it is replaced')
    .addOption(backendOption())
    .addOption(jsonOption())
    .addHelpText('after', HELP)
    .action((path: string, options: CompressCommandOptions) =>
      interruptible((signal) => run(path, options, signal)),
    );
}

async function run(path: string, options: CompressCommandOptions, signal: AbortSignal): Promise<void> {
  const {mode, ignore, out, json} = options;
  await checkSavePath(out);
  const model = await openModel(path, options);
  await withProgress('compressing', 'weights', (onProgress) =>
    compressWeights(model, {mode, ignoredScope: ignoredScopeOf(ignore), inPlace: true, onProgress, signal}),
  );
  const steps = await stepsFrom(path, {models: [path]});
  const known = knownOf(model); // what could fail does so before anything is written
  const weights = inspectWeights(model);
  await saveLayersModel(model, out, {signal});
  await describeSaved(known, out, {steps});
  model.dispose();
  if (json === true) console.log(JSON.stringify({out, weights}, null, 2));
  else console.log(`${summarizeWeights(weights)}\n\nsaved to ${out}`);
}
