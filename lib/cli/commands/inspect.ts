/** @file `tfjs-sparsify inspect`: the Dense layers of a model. */
import {Command} from 'commander';
import {inspect} from '../../model/inspect.js';
import {MODEL_ARGUMENT, backendOption, openModel, type BackendOptions} from '../model.js';
import {jsonOption} from '../options.js';
import {describeLayers, layersJson} from '../report.js';

const HELP = `
Example:
  $ tfjs-sparsify inspect models/digits/model.json

Output of --json, one object:
  layers  [{path, inputSize, units, weightShare, format, bytes, sparsified, target, reached, threshold}], in the order
          of the graph; path is what a pattern matches, weightShare the share of the model's weights in [0, 1], format
          of the kernel float32, int8_asym or int8_sym, bytes its size, target, reached and threshold are null unless
          the layer is sparsified and calibrated; reached is the share of the calibration data that is masked

Exit code: 0, or 1 if the model cannot be read, 2 on wrong use.`;

interface InspectCommandOptions extends BackendOptions {
  readonly json?: boolean;
}

/** The command, to add to a program. */
export function inspectCommand(): Command {
  return new Command('inspect')
    .description('the Dense layers of a model: paths, sizes, targets, thresholds')
    .argument('<MODEL>', MODEL_ARGUMENT)
    .addOption(backendOption())
    .addOption(jsonOption())
    .addHelpText('after', HELP)
    .action(async (path: string, options: InspectCommandOptions) => {
      const model = await openModel(path, options);
      const layers = inspect(model);
      model.dispose();
      console.log(
        options.json === true
          ? JSON.stringify({layers: layersJson(layers)}, null, 2)
          : describeLayers(layers),
      );
    });
}
