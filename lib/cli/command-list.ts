/**
 * @file The commands by name, each with what the overview says of it. A command's module is imported when it is asked
 * for: all of them together take a second and some 20 MB, and the overview needs none.
 */
import {Command} from 'commander';

interface Entry {
  readonly args?: string;
  readonly summary: string;
  readonly load: () => Promise<Command>;
}

/** In the order of the overview. */
export const COMMANDS: Readonly<Record<string, Entry>> = {
  inspect: {
    args: '<MODEL>',
    summary: 'the Dense layers of a model: paths, sizes, targets, thresholds',
    load: async () => (await import('./commands/inspect.js')).inspectCommand(),
  },
  sparsify: {
    args: '<MODEL>',
    summary: 'calibrate thresholds on data and save the sparsified model',
    load: async () => (await import('./commands/sparsify.js')).sparsifyCommand(),
  },
  compress: {
    args: '<MODEL>',
    summary: 'save a model with INT8 or INT4 weights',
    load: async () => (await import('./commands/compress.js')).compressCommand(),
  },
  evaluate: {
    args: '<MODEL...>',
    summary: 'quality, actual sparsity and latency of a model on data',
    load: async () => (await import('./commands/evaluate.js')).evaluateCommand(),
  },
  retarget: {
    args: '<MODEL>',
    summary: 'give a sparsified model other targets, without data',
    load: async () => (await import('./commands/retarget.js')).retargetCommand(),
  },
  bench: {
    args: '<MODEL>',
    summary: 'which layers of a model get faster on this machine, from which sparsity on',
    load: async () => (await import('./commands/bench.js')).benchCommand(),
  },
  report: {
    args: '<MODEL>',
    summary: 'what is known of a model, and what it loses and gains on data, as one HTML page',
    load: async () => (await import('./commands/report.js')).reportCommand(),
  },
  fetch: {
    args: '<NAME>',
    summary: 'fetch a published language model and print where it is',
    load: async () => (await import('./commands/fetch.js')).fetchCommand(),
  },
  import: {
    args: '<SOURCE>',
    summary: 'make a tf.LayersModel of a Llama-family checkpoint',
    load: async () => (await import('./commands/import.js')).importCommand(),
  },
  generate: {
    args: '<MODEL> <PROMPT>',
    summary: 'generate text with a language model',
    load: async () => (await import('./commands/generate.js')).generateCommand(),
  },
  chat: {
    args: '<MODEL>',
    summary: 'talk with a language model',
    load: async () => (await import('./commands/chat.js')).chatCommand(),
  },
  perplexity: {
    args: '<MODEL...>',
    summary: 'word and token perplexity of a language model on a text',
    load: async () => (await import('./commands/perplexity.js')).perplexityCommand(),
  },
  serve: {
    args: '<[NAME=]PATH...>',
    summary: 'serve models over HTTP',
    load: async () => (await import('./commands/serve.js')).serveCommand(),
  },
  doctor: {
    summary: 'which backends load, which is used and why, and what would be faster',
    load: async () => (await import('./commands/doctor.js')).doctorCommand(),
  },
  provision: {
    summary: 'set up tfjs-node or tfjs-node-gpu where their own installation fails',
    load: async () => (await import('./commands/provision.js')).provisionCommand(),
  },
};

/**
 * All commands, of which the one that is asked for is the real one and the others have a name and a summary.
 *
 * @param args Of the command line, without `node` and the script.
 */
export async function commandsFor(args: readonly string[]): Promise<Command[]> {
  const asked = args.find((arg) => Object.hasOwn(COMMANDS, arg)); // `help serve` too
  return Promise.all(
    Object.entries(COMMANDS).map(async ([name, entry]) =>
      name === asked ? entry.load() : mentioned(name, entry),
    ),
  );
}

/** A command for the overview alone. */
function mentioned(name: string, {args, summary}: Entry): Command {
  const command = new Command(name).description(summary);
  return args === undefined ? command : command.arguments(args);
}
