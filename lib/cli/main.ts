#!/usr/bin/env node
/** @file The command line: `npx tfjs-sparsify`. Parses, runs one command, and turns errors into exit codes. */
import {createRequire} from 'node:module';
import {Command, CommanderError} from 'commander';
import {ScopeError, SparsifyError} from '../errors.js';
import {commandsFor} from './command-list.js';
import {withoutCredentials} from '../io/files/url-credentials.js';
import {explain, outOfDeviceMemory} from './explain-error.js';
import {Interruption} from './interrupt.js';

const HELP = `
Example:
  $ tfjs-sparsify inspect model.json
  $ tfjs-sparsify sparsify model.json --data calibration.npy --target '.*=0.5' --out sparse
  $ tfjs-sparsify evaluate sparse --data test.npy --labels test-labels.npy --baseline model.json
and with a language model:
  $ tfjs-sparsify import "$(tfjs-sparsify fetch smollm2-135m-instruct)" --out smollm2
  $ tfjs-sparsify sparsify smollm2 --data calibration.txt --target '@gate_up=0.3' --target '@down=0.5' --out sparse
  $ tfjs-sparsify perplexity sparse --data test.txt --baseline smollm2
  $ tfjs-sparsify chat sparse
and either, over HTTP:
  $ tfjs-sparsify serve sparse --port 8501

The backend is the fastest that loads (tfjs-sparsify doctor tells); --backend NAME or SPARSIFY_BACKEND=NAME
overrides, with node-gpu, node, wasm or cpu.
Exit code: 0, or 1 if the run failed, 2 on wrong use, 130 after Ctrl-C.`;

const FAILED = 1;
const WRONG_USE = 2;

/** Codes of errors that a look at the command line explains; errors of scopes are all of this kind. */
const WRONG_USE_CODES: ReadonlySet<string> = new Set([
  'unknown-backend',
  'unsupported-format',
  'unknown-model',
  'unsupported-scheme',
  'bad-option',
  'unsupported-option',
  'missing-dataset',
  'bad-group-size',
  'bad-target',
]);

/** What reads the output may end before it has read all, as `head` does: the command goes on, unheard. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

/** The program for a command line; parsing errors throw instead of ending the process. */
async function createProgram(args: readonly string[]): Promise<Command> {
  const {version} = createRequire(import.meta.url)('tfjs-sparsify/package.json') as {version: string};
  const program = new Command('tfjs-sparsify')
    .description('activation sparsity for TensorFlow.js models')
    .version(version)
    .addHelpText('after', HELP)
    .exitOverride()
    .showHelpAfterError('(--help shows the options and an example)');
  for (const command of await commandsFor(args)) program.addCommand(command.copyInheritedSettings(program));
  return program;
}

/** The exit code for what a command threw, after saying it on stderr. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : WRONG_USE; // it has said it itself
  if (error instanceof Interruption) {
    console.error('stopped; nothing was written');
    return error.exitCode;
  }
  if (error instanceof SparsifyError) {
    console.error(`error: ${withoutCredentials(explain(error))}`);
    return error instanceof ScopeError || WRONG_USE_CODES.has(error.code) ? WRONG_USE : FAILED;
  }
  const memory = outOfDeviceMemory(error);
  if (memory !== undefined) {
    console.error(`error: ${memory}`);
    return FAILED;
  }
  console.error(error);
  return FAILED;
}

try {
  const program = await createProgram(process.argv.slice(2));
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}
