/** @file `tfjs-sparsify perplexity`: how well a language model predicts a text. */
import {basename} from 'node:path';
import {Command} from 'commander';
import type {Perplexity} from '../../language/index.js';
import {inspect} from '../../model/inspect.js';
import type {ReportContents} from '../../report/report-contents.js';
import {formatsOf} from '../../report/summary-numbers.js';
import {readText} from '../../io/files/read-text.js';
import {interruptible} from '../interrupt.js';
import {LANGUAGE_MODEL_ARGUMENT, backendOption, openLanguageModel, type BackendOptions} from '../model.js';
import {jsonOption} from '../shared-options.js';
import {stepsBeside} from '../write-model-card.js';
import {thisStep} from '../origin.js';
import {withoutCredentials} from '../../io/files/url-credentials.js';
import {withProgress} from '../progress.js';
import {
  checkReportPath,
  contentsOf,
  knownOf,
  modelName,
  reportOption,
  writeReport,
  type ReportOptions,
} from '../report-option.js';
import {perplexityTable, sparsityOn} from '../report-tables.js';
import {formatTable, percent} from '../text-table.js';
import {
  WINDOWS_HELP,
  addWindowOptions,
  describeAmount,
  describeGroups,
  type WindowCommandOptions,
} from '../windows.js';

const HELP = `
Example:
  $ tfjs-sparsify perplexity sparse --data wikitext-2-test.txt --protocol token --windows 4 --baseline model.gguf

Dense, sparse, and INT8 and sparse, in one table:
  $ tfjs-sparsify perplexity model.gguf sparse int8-sparse --data wikitext-2-test.txt

${WINDOWS_HELP}

Output of --json, one object:
  models  [{model, wordPerplexity, tokenPerplexity, tokens, words, sparsity}], the baseline first if there is one,
          then in the order given;
          sparsity is null for a dense model, else {mean, groups: [{group, layers, actual}],
          layers: [{path, target, actual}]}, in [0, 1], over the tokens that were computed

Exit code: 0, or 1 if the run failed, 2 on wrong use, 130 after Ctrl-C.`;

interface PerplexityCommandOptions extends WindowCommandOptions, BackendOptions, ReportOptions {
  readonly data: string;
  readonly baseline?: string;
  readonly json?: boolean;
}

/** One line of the result. */
interface ModelPerplexity extends Perplexity {
  readonly model: string;
}

/** The command, to add to a program. */
export function perplexityCommand(): Command {
  const command = new Command('perplexity')
    .description('word and token perplexity of a language model on a text')
    .argument('<MODEL...>', `${LANGUAGE_MODEL_ARGUMENT}; several are put beside each other`)
    .requiredOption('-d, --data <FILE>', 'text that calibration never saw; raw WikiText is detokenised');
  return addWindowOptions(command)
    .option('--baseline <MODEL>', 'another model to put beside it, the dense one say')
    .addOption(backendOption())
    .addOption(reportOption())
    .addOption(jsonOption())
    .addHelpText('after', HELP)
    .action((paths: string[], options: PerplexityCommandOptions) =>
      interruptible((signal) => run(paths, options, signal)),
    );
}

async function run(
  paths: readonly string[],
  options: PerplexityCommandOptions,
  signal: AbortSignal,
): Promise<void> {
  const {data, baseline, windows, protocol, contextLength, json} = options;
  const text = await readText(data);
  await checkReportPath(options);
  const models: ModelPerplexity[] = [];
  const named = baseline === undefined ? paths : [baseline, ...paths];
  const weights: string[] = [];
  let contents: ReportContents | null = null;
  for (const model of named) {
    const lm = await openLanguageModel(model, {...options, signal});
    try {
      const result = await withProgress(`scoring ${model}`, 'windows', (onProgress) =>
        lm.perplexity(text, {windows, protocol, contextLength, onProgress, signal}),
      );
      models.push({model: withoutCredentials(model), ...result});
      weights.push(formatsOf(inspect(lm.model)));
      if (models.length === named.length && options.report !== undefined) {
        const quality = perplexityTable(
          models.map((row, i) => ({name: modelName(row.model), weights: weights[i], ...row})),
          basename(data),
        );
        const found = {quality, sparsity: sparsityOn(result.sparsity, quality)};
        contents = contentsOf(knownOf(lm.model), model, {...found, steps: await stepsBeside(model)});
      }
    } finally {
      lm.dispose();
    }
  }
  console.log(json === true ? JSON.stringify({models}, null, 2) : describe(models));
  await writeReport(options, async () => ({
    ...contents!,
    measurement: await thisStep({models: named, data}),
  }));
}

function describe(models: readonly ModelPerplexity[]): string {
  const {tokens, words, sparsity} = models[models.length - 1];
  const table = formatTable(models, [
    {title: 'model', cell: ({model}) => model},
    {
      title: 'avg. activation sparsity',
      cell: ({sparsity}) => (sparsity === null ? '-' : percent(sparsity.mean)),
      align: 'right',
    },
    {title: 'word perplexity', cell: ({wordPerplexity}) => wordPerplexity.toFixed(3), align: 'right'},
    {title: 'token perplexity', cell: ({tokenPerplexity}) => tokenPerplexity.toFixed(3), align: 'right'},
  ]);
  const groups = sparsity === null ? '' : `\n\n${describeGroups(sparsity)}`;
  return `${table}\n\n${describeAmount(tokens, words)}${groups}`;
}
