/** @file Options of how an evaluation text is cut into windows, and the report of a language model's quality. */
import type {Command} from 'commander';
import {Option} from 'commander';
import type {Comparison, PerplexityProtocol, SparsityReport} from '../language/index.js';
import {countOption} from './shared-options.js';
import {formatTable, percent} from './text-table.js';

/** What the options of `addWindowOptions` give. */
export interface WindowCommandOptions {
  readonly windows?: number;
  readonly protocol?: PerplexityProtocol;
  readonly contextLength?: number;
}

/** For the help of commands that measure perplexity. */
export const WINDOWS_HELP = `Perplexity in the protocol "word" is lm-evaluation-harness's: raw WikiText article by article, detokenised, every token
scored once in windows of 2048. In "token" all text is one row of ids in pieces of 2047 after the beginning-of-text id.
--windows N takes the first N windows, so the same every time: 4 of the token protocol take a minute or two on a CPU.`;

/** Adds `--windows`, `--protocol` and `--context-length`. */
export function addWindowOptions(command: Command): Command {
  return command
    .addOption(
      countOption('-w, --windows <N>', 'score the first so many windows of the text; by default all'),
    )
    .addOption(
      new Option('--protocol <NAME>', 'how the text is cut; see below; word by default').choices([
        'word',
        'token',
      ]),
    )
    .addOption(
      countOption(
        '--context-length <N>',
        "tokens of a window; 2048 by default, or the model's own if shorter",
      ),
    );
}

/** The table of NNCF's examples, and what it does not show. */
export function describeComparison({modes, sparsity, tokens, words}: Comparison): string {
  const table = formatTable(modes, [
    {title: 'mode', cell: ({mode}) => mode},
    {
      title: 'avg. activation sparsity',
      cell: ({sparsity}) => (sparsity === 0 ? '-' : percent(sparsity)),
      align: 'right',
    },
    {title: 'word perplexity', cell: ({wordPerplexity}) => wordPerplexity.toFixed(3), align: 'right'},
    {title: 'token perplexity', cell: ({tokenPerplexity}) => tokenPerplexity.toFixed(3), align: 'right'},
    {title: 'KL divergence', cell: ({divergence}) => divergence.toPrecision(3), align: 'right'},
    {title: 'same likeliest token', cell: ({agreement}) => percent(agreement), align: 'right'},
  ]);
  const unit = 'KL divergence from the first line, in nats a token';
  const groups = sparsity === null ? [] : [describeGroups(sparsity)];
  return [table, `${unit}; ${describeAmount(tokens, words)}`, ...groups].join('\n\n');
}

/** How much text a perplexity is of. */
export function describeAmount(tokens: number, words: number): string {
  return `${tokens.toLocaleString('en')} tokens, ${Math.round(words).toLocaleString('en')} words`;
}

/** Actual sparsity by groups of layers. */
export function describeGroups({groups, mean, layers}: SparsityReport): string {
  const rows = [...groups, {group: 'mean', layers: layers.length, actual: mean}];
  return formatTable(rows, [
    {title: 'layers', cell: ({group}) => group},
    {title: 'count', cell: ({layers}) => String(layers), align: 'right'},
    {title: 'actual sparsity', cell: ({actual}) => percent(actual), align: 'right'},
  ]);
}
