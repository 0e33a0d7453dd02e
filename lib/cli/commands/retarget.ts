/** @file `tfjs-sparsify retarget`: other targets for a sparsified model, from its statistics, without data. */
import {Command} from 'commander';
import {allocateSparsity} from '../../allocate.js';
import {SparsifyError} from '../../errors.js';
import {checkSavePath, saveLayersModel} from '../../io/model/model-files.js';
import {retarget} from '../../sparsify.js';
import {describeAllocation} from '../automatic-targets.js';
import {interruptible} from '../interrupt.js';
import {summarizeLayers} from '../layer-summary.js';
import {MODEL_ARGUMENT, backendOption, openModel, type BackendOptions} from '../model.js';
import {describeSaved, stepsFrom} from '../write-model-card.js';
import {
  ignoreOption,
  ignoredScopeOf,
  jsonOption,
  shareOption,
  targetOption,
  type TargetOption,
} from '../shared-options.js';
import {checkReportPath, knownOf, reportOption, type ReportOptions} from '../report-option.js';
import {layersJson} from '../layer-list.js';
import {gatherWarnings, printWarnings, warningsJson} from '../warnings.js';

const HELP = `
Example:
  $ tfjs-sparsify retarget sparse --target '.*=0.7' --out sparser
  $ tfjs-sparsify retarget allocated --sparsity 0.6 --out sparser

--sparsity spreads a mean over the layers of a model that sparsify --sparsity or --auto made, by its saved probes.

Output of --json, one object:
  out     the folder that holds the model with the new targets
  layers  as of inspect
  warnings  as of sparsify

Exit code: 0, or 1 if the run failed (the model holds no statistics, say), 2 on wrong use, 130 after Ctrl-C.`;

interface RetargetCommandOptions extends BackendOptions, ReportOptions {
  readonly target?: readonly TargetOption[];
  readonly sparsity?: number;
  readonly ignore?: readonly string[];
  readonly out: string;
  readonly json?: boolean;
}

/** The command, to add to a program. */
export function retargetCommand(): Command {
  return new Command('retarget')
    .description('give a sparsified model other targets, without data')
    .argument('<MODEL>', `sparsified; ${MODEL_ARGUMENT}`)
    .addOption(targetOption())
    .addOption(
      shareOption('--sparsity <SHARE>', 'instead of --target: mean share of inputs to mask, as 0.5 or 50%'),
    )
    .addOption(ignoreOption())
    .requiredOption('-o, --out <DIR>', 'folder for the result; may be that of the model')
    .addOption(backendOption())
    .addOption(reportOption())
    .addOption(jsonOption())
    .addHelpText('after', HELP)
    .action((path: string, options: RetargetCommandOptions) =>
      interruptible((signal) => run(path, options, signal)),
    );
}

async function run(path: string, options: RetargetCommandOptions, signal: AbortSignal): Promise<void> {
  const {target, sparsity, ignore, out, json} = options;
  if ((target === undefined) === (sparsity === undefined)) {
    throw new SparsifyError('bad-option', "give one of --target, as '.*=0.5', and --sparsity, as 0.5");
  }
  await checkSavePath(out);
  await checkReportPath(options);
  const model = await openModel(path, {...options, signal});
  const ignoredScope = ignoredScopeOf(ignore);
  const {warnings, onWarning} = gatherWarnings();
  const allocation =
    target === undefined
      ? await allocateSparsity(model, null, {target: sparsity!, ignoredScope, onWarning})
      : null;
  const layers = retarget(model, allocation ?? {targetSparsityByScope: target!, ignoredScope}, {onWarning});
  const steps = await stepsFrom(path, {models: [path]});
  await saveLayersModel(model, out, {signal});
  await describeSaved(knownOf(model), out, {steps}, options);
  model.dispose();
  if (json === true)
    console.log(JSON.stringify({out, layers: layersJson(layers), warnings: warningsJson(warnings)}, null, 2));
  else {
    const spread = allocation === null ? [] : [describeAllocation(allocation)];
    console.log([summarizeLayers(layers, out), ...spread, `saved to ${out}`].join('\n\n'));
    printWarnings(warnings);
  }
}
