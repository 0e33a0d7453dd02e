/** @file `tfjs-sparsify inspect`: the Dense layers of a model, or what else of it can be compressed. */
import {Command} from 'commander';
import {inspectWeights} from '../../compress.js';
import type {WeightReport} from '../../model/compressible.js';
import {reportDense} from '../../model/inspect.js';
import {MODEL_ARGUMENT, backendOption, openModel, type BackendOptions} from '../model.js';
import {jsonOption} from '../shared-options.js';
import {describeLayers, describeWeights, layersJson} from '../layer-list.js';

const HELP = `
Example:
  $ tfjs-sparsify inspect models/digits/model.json

Output of --json, one object:
  layers  [{path, inputSize, units, weightShare, format, bytes, sparsified, target, reached, threshold}], in the order
          of the graph; path is what a pattern matches, weightShare the share of the model's weights in [0, 1], format
          of the kernel float32, int8_asym, int4_sym …, bytes its size, target, reached and threshold are null unless
          the layer is sparsified and calibrated; reached is the share of the calibration data that is masked
  weights only for a model without Dense layers, whose layers are []: [{path, type, weight, shape, format, bytes}] of
          every weight that is packed or that compress can pack

Exit code: 0, or 1 if the model cannot be read, 2 on wrong use.`;

interface InspectCommandOptions extends BackendOptions {
  readonly json?: boolean;
}

/** A model that cannot be sparsified: what can be compressed of it. */
function describeWithoutDense(weights: readonly WeightReport[]): string {
  if (weights.length === 0)
    return 'no Dense layers, so nothing to sparsify; and no weight that can be packed, so nothing to compress';
  return `no Dense layers, so nothing to sparsify; what tfjs-sparsify compress packs:\n\n${describeWeights(weights)}`;
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
      const layers = reportDense(model);
      const weights = inspectWeights(model);
      model.dispose();
      console.log(
        options.json === true
          ? JSON.stringify(layers.length > 0 ? {layers: layersJson(layers)} : {layers: [], weights}, null, 2)
          : layers.length > 0
            ? describeLayers(layers)
            : describeWithoutDense(weights),
      );
    });
}
