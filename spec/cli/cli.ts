/** @file Runs the command line in a process of its own. */
import {spawn, type ChildProcess} from 'node:child_process';
import {createRequire} from 'node:module';
import {fileURLToPath, pathToFileURL} from 'node:url';
import {finished, urlOf, type Finished} from '../child.js';

/** Starts `tfjs-sparsify` with arguments, on the cpu backend, which starts soonest. */
export function startCli(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  stdin: 'ignore' | 'pipe' = 'ignore',
): ChildProcess {
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
  const main = fileURLToPath(urlOf('lib/cli/main.ts'));
  return spawn(process.execPath, ['--import', tsx, main, ...args], {
    env: {...process.env, SPARSIFY_BACKEND: 'cpu', ...env},
    stdio: [stdin, 'pipe', 'pipe'],
  });
}

/** Runs `tfjs-sparsify` to its end. */
export function cli(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Finished> {
  return finished(startCli(args, env));
}
