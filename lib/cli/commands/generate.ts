/** @file `tfjs-sparsify generate`: what a language model writes after a prompt, as it comes. */
import {Command} from 'commander';
import type {GeneratedToken, Prompt} from '../../language/index.js';
import {SparsifyError} from '../../errors.js';
import {
  addGenerationOptions,
  describeGeneration,
  generateOptions,
  type GenerationCommandOptions,
} from '../generation.js';
import {interruptible} from '../interrupt.js';
import {LANGUAGE_MODEL_ARGUMENT, backendOption, openLanguageModel, type BackendOptions} from '../model.js';
import {jsonOption} from '../shared-options.js';

const HELP = `
Example:
  $ tfjs-sparsify generate smollm2 'The capital of France is' --max-tokens 20
  $ tfjs-sparsify generate smollm2 --chat 'Why is the sky blue?'

The text goes to stdout as it comes; times go to stderr afterwards.

Output of --json, one object:
  text                what follows the prompt, without end token and stop text; empty without tokenizer
  tokens              the generated ids
  finishReason        stop, or length
  promptTokens        how many
  timeToFirstTokenMs  from the start to the first token
  tokensPerSecond     after the first token

Exit code: 0, or 1 if the run failed, 2 on wrong use, 130 after Ctrl-C.`;

interface GenerateCommandOptions extends GenerationCommandOptions, BackendOptions {
  readonly chat?: boolean;
  readonly ids?: boolean;
  readonly json?: boolean;
}

/** The command, to add to a program. */
export function generateCommand(): Command {
  const command = new Command('generate')
    .description('generate text with a language model')
    .argument('<MODEL>', LANGUAGE_MODEL_ARGUMENT)
    .argument('<PROMPT>', 'the text to go on from')
    .option('--chat', "answer PROMPT as a message, in the model's chat format")
    .option('--ids', 'PROMPT is token ids, as 1,5,20; prints ids without tokenizer');
  return addGenerationOptions(command, 0)
    .addOption(backendOption())
    .addOption(jsonOption())
    .addHelpText('after', HELP)
    .action((path: string, prompt: string, options: GenerateCommandOptions) =>
      interruptible((signal) => run(path, prompt, options, signal)),
    );
}

async function run(
  path: string,
  text: string,
  options: GenerateCommandOptions,
  signal: AbortSignal,
): Promise<void> {
  const prompt = promptOf(text, options);
  const lm = await openLanguageModel(path, {...options, signal});
  const show = ({id, text}: GeneratedToken) =>
    process.stdout.write(lm.tokenizer === null && id !== null ? `${id} ` : text);
  try {
    const onToken = options.json === true ? undefined : show;
    const generation = await lm.generate(prompt, {...generateOptions(options), signal, onToken});
    if (options.json === true) console.log(JSON.stringify(generation, null, 2));
    else console.error(`\n${describeGeneration(generation)}`);
  } finally {
    lm.dispose();
  }
}

function promptOf(text: string, {chat, ids}: GenerateCommandOptions): Prompt {
  if (ids === true) {
    const numbers = text
      .split(/[\s,]+/)
      .filter((part) => part !== '')
      .map(Number);
    if (chat === true || numbers.some(Number.isNaN)) {
      throw new SparsifyError(
        'bad-option',
        `PROMPT is ${JSON.stringify(text)}; with --ids it must be token ids, as 1,5,20, and --chat has no place`,
      );
    }
    return numbers;
  }
  return chat === true ? [{role: 'user', content: text}] : text;
}
