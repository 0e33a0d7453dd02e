/** @file Runs the command line in a process of its own: the built one, as users run it, which starts sooner too. */
import {spawn, type ChildProcess} from 'node:child_process';
import {fileURLToPath} from 'node:url';
import {finished, quietly, urlOf, type Finished} from './child.js';

/** Starts `tfjs-sparsify` with arguments, on the cpu backend, which starts soonest. */
export function startCli(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  stdin: 'ignore' | 'pipe' = 'ignore',
): ChildProcess {
  const main = fileURLToPath(urlOf('dist/lib/cli/main.js'));
  return spawn(process.execPath, [main, ...args], {
    env: quietly({SPARSIFY_BACKEND: 'cpu', ...env}),
    stdio: [stdin, 'pipe', 'pipe'],
  });
}

/** Runs `tfjs-sparsify` to its end. */
export function cli(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Finished> {
  return finished(startCli(args, env));
}
