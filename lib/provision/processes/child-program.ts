/**
 * @file Programs of this package that run in a process of their own, since what they load may end it. They are compiled
 * in the published package; in a checkout they are TypeScript, which tsx loads.
 */
import {createRequire} from 'node:module';
import {fileURLToPath, pathToFileURL} from 'node:url';
import {runCommand, type CommandOptions, type CommandResult} from './command.js';

/**
 * Runs a program of this package to its end.
 *
 * @param program Its place as a compiled file, beside that of its caller: `new URL('load-child.js', import.meta.url)`.
 * @param args
 * @param options `env` is what the program gets, less what Node itself would read from it.
 */
export function runChildProgram(
  program: URL,
  args: readonly string[],
  {env = process.env, ...options}: CommandOptions,
): Promise<CommandResult> {
  const inChild = {...options, env: {...env, NODE_OPTIONS: ''}};
  if (!import.meta.url.endsWith('.ts')) {
    return runCommand(process.execPath, [fileURLToPath(program), ...args], inChild);
  }
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
  const source = fileURLToPath(program).replace(/\.js$/, '.ts');
  return runCommand(process.execPath, ['--import', tsx, source, ...args], inChild);
}
