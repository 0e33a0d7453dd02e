/** @file Options of how text is generated, and what is said about a generation afterwards. */
import {InvalidArgumentError, Option, type Command} from 'commander';
import type {GenerateOptions, Generation, PrefillPolicy} from '../language/index.js';
import {countOption, numberOption} from './shared-options.js';

/** What the options of `addGenerationOptions` give. */
export interface GenerationCommandOptions {
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly seed?: number;
  readonly stop?: readonly string[];
  readonly prefill?: PrefillPolicy;
}

/** Adds `--max-tokens`, `--temperature` and so on. */
export function addGenerationOptions(command: Command, temperature: number): Command {
  return command
    .addOption(countOption('-n, --max-tokens <N>', 'generate at most so many tokens').default(256))
    .addOption(
      numberOption('--temperature <T>', '0 always takes the likeliest token; higher is more varied').default(
        temperature,
      ),
    )
    .addOption(
      numberOption('--top-p <P>', 'draw from the fewest tokens whose probabilities reach this, in (0, 1]'),
    )
    .addOption(countOption('--top-k <N>', 'draw from the so many likeliest tokens'))
    .addOption(numberOption('--seed <N>', 'a whole number: the same gives the same text'))
    .addOption(
      new Option('--stop <TEXT>', 'end before this text; repeatable').argParser(
        (text: string, before?: string[]) => [...(before ?? []), text],
      ),
    )
    .addOption(
      new Option(
        '--prefill <POLICY>',
        'which tokens are computed sparse. dense (default): generated ones, and the prompt dense; sparse: all; a number: ' +
          'all but the first so many',
      ).argParser(parsePolicy),
    );
}

/** The options for the library. */
export function generateOptions(options: GenerationCommandOptions): GenerateOptions {
  const {maxTokens, temperature, topP, topK, seed, stop, prefill} = options;
  return {maxTokens, temperature, topP, topK, seed, stop, prefill};
}

/** One line on how long it took. */
export function describeGeneration(generation: Generation): string {
  const {promptTokens, tokens, timeToFirstTokenMs, tokensPerSecond} = generation;
  return (
    `${promptTokens} prompt tokens, first token after ${timeToFirstTokenMs.toFixed(0)} ms, then ${tokens.length} tokens at ` +
    `${tokensPerSecond.toFixed(1)} a second`
  );
}

function parsePolicy(text: string): PrefillPolicy {
  if (text === 'sparse' || text === 'dense') return text;
  const count = Number(text);
  if (text.trim() !== '' && Number.isInteger(count) && count >= 0) return count;
  throw new InvalidArgumentError('It must be sparse, dense, or how many leading tokens are dense.');
}
