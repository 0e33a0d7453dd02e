/** @file `tfjs-sparsify chat`: a conversation with a language model in the terminal. */
import {createInterface, type Interface} from 'node:readline';
import {Command} from 'commander';
import {SparsifyError} from '../../errors.js';
import type {ChatMessage, Generation, LanguageModel} from '../../language/index.js';
import {explain} from '../explain-error.js';
import {
  addGenerationOptions,
  describeGeneration,
  generateOptions,
  type GenerationCommandOptions,
} from '../generation.js';
import {LANGUAGE_MODEL_ARGUMENT, backendOption, openLanguageModel, type BackendOptions} from '../model.js';
import {jsonOption} from '../shared-options.js';

const HELP = `
Example:
  $ tfjs-sparsify chat smollm2 --system 'You answer in one sentence.'

Ctrl-C stops an answer; at the prompt it ends the chat, as Ctrl-D does. /new starts over. Lines can come through a pipe as
well.

Output of --json, one object when the chat ends:
  messages  [{role, content}]
  replies   what generate --json gives, for each answer

Exit code: 0, or 1 if the run failed, 2 on wrong use.`;

const DEFAULT_TEMPERATURE = 0.7;
const START_OVER = '/new';

interface ChatCommandOptions extends GenerationCommandOptions, BackendOptions {
  readonly system?: string;
  readonly json?: boolean;
}

/** The command, to add to a program. */
export function chatCommand(): Command {
  const command = new Command('chat')
    .description('talk with a language model')
    .argument('<MODEL>', LANGUAGE_MODEL_ARGUMENT)
    .option('--system <TEXT>', 'what the model is told before the conversation');
  return addGenerationOptions(command, DEFAULT_TEMPERATURE)
    .addOption(backendOption())
    .addOption(jsonOption())
    .addHelpText('after', HELP)
    .action(run);
}

async function run(path: string, options: ChatCommandOptions): Promise<void> {
  const lm = await openLanguageModel(path, options);
  const terminal = createInterface({input: process.stdin, output: process.stderr, prompt: '> '});
  try {
    const chat = new Chat(lm, options, terminal);
    await chat.talk();
    if (options.json === true) console.log(JSON.stringify(chat.result(), null, 2));
  } finally {
    terminal.close();
    lm.dispose();
  }
}

class Chat {
  private messages: ChatMessage[];
  private readonly replies: Generation[] = [];
  /** Stops the answer that is being written. */
  private answering: AbortController | null = null;

  constructor(
    private readonly lm: LanguageModel,
    private readonly options: ChatCommandOptions,
    private readonly terminal: Interface,
  ) {
    this.messages = this.start();
    terminal.on('SIGINT', () => this.interrupt());
    process.on('SIGINT', this.interrupt);
  }

  /** Reads lines and answers them until the input ends. */
  async talk(): Promise<void> {
    this.terminal.prompt();
    for await (const line of this.terminal) {
      const text = line.trim();
      if (text === START_OVER) this.messages = this.start();
      else if (text !== '') await this.answer(text);
      this.terminal.prompt();
    }
    process.off('SIGINT', this.interrupt);
  }

  result(): {messages: readonly ChatMessage[]; replies: readonly Generation[]} {
    return {messages: this.messages, replies: this.replies};
  }

  private readonly interrupt = (): void => {
    if (this.answering === null) this.terminal.close();
    else this.answering.abort();
  };

  private async answer(content: string): Promise<void> {
    const {json} = this.options;
    const messages = [...this.messages, {role: 'user', content}];
    this.answering = new AbortController();
    let written = '';
    try {
      const generation = await this.lm.generate(messages, {
        ...generateOptions(this.options),
        signal: this.answering.signal,
        onToken: ({text}) => {
          written += text;
          if (json !== true) process.stdout.write(text);
        },
      });
      this.replies.push(generation);
      if (json !== true) console.error(`\n(${describeGeneration(generation)})`);
    } catch (error) {
      if (error instanceof SparsifyError && error.code === 'prompt-too-long') {
        console.error(`${explain(error)}; ${START_OVER} starts over`);
        return; // as if it had not been said
      }
      if (!this.answering.signal.aborted) throw error;
      if (json !== true) process.stdout.write('\n');
    } finally {
      this.answering = null;
    }
    this.messages = [...messages, {role: 'assistant', content: written}];
  }

  private start(): ChatMessage[] {
    const {system} = this.options;
    return system === undefined ? [] : [{role: 'system', content: system}];
  }
}
