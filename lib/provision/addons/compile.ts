/** @file Builds an addon by its recipe: compiles its units, as many at a time as there are cores, and links them. */
import {existsSync, rmSync} from 'node:fs';
import {createRequire} from 'node:module';
import {availableParallelism} from 'node:os';
import {dirname, join} from 'node:path';
import {compilerErrorLine, runCommand} from '../processes/command.js';
import {ProvisionError} from '../provision-error.js';
import type {AddonRecipe, DoubtfulUnit} from './recipe.js';

/**
 * Builds an addon.
 *
 * @param folder It gets the addon's file, and nothing else.
 * @throws {ProvisionError} If there is no compiler, or it fails.
 */
export async function buildAddon(
  recipe: AddonRecipe,
  folder: string,
  log: (line: string) => void,
): Promise<void> {
  const {what, takes, sources, units, doubtful, compileFlags, linkFlags, mostCompilers} = recipe;
  const compiler = recipe.compiler();
  if (takes !== undefined) log(`building the ${what} (${takes})`);
  const objectOf = (unit: string) => join(folder, `${unit.replaceAll('/', '-')}.o`);
  const compile = (unit: string, extraFlags: readonly string[], signal?: AbortSignal) => {
    const files = ['-c', join(sources, unit), '-o', objectOf(unit)];
    return run(recipe, [...compiler, ...compileFlags(unit), ...extraFlags, ...files], signal);
  };
  const hasAll = doubtful !== undefined && (await compileDoubtful(doubtful, compile, log));
  await compileAll(units, (unit, signal) => compile(unit, [], signal), mostCompilers);
  const objects = [...(doubtful === undefined ? [] : [doubtful.unit]), ...units].map(objectOf);
  const output = ['-o', join(folder, recipe.file)];
  await run(recipe, [
    ...compiler,
    ...output,
    ...objects,
    ...linkFlags,
    ...(hasAll ? doubtful.linkFlags : []),
  ]);
  for (const object of objects) rmSync(object);
}

/** Compiles with what may be missing, else without; gives whether it was with. */
async function compileDoubtful(
  {unit, header, compileFlags, without}: DoubtfulUnit,
  compile: (unit: string, extraFlags: readonly string[]) => Promise<void>,
  log: (line: string) => void,
): Promise<boolean> {
  let failure = 'its headers are missing';
  if (existsSync(header)) {
    try {
      await compile(unit, compileFlags);
      return true;
    } catch (error) {
      failure = (error as Error).message;
    }
  }
  log(`${without}: ${failure}`);
  await compile(unit, []);
  return false;
}

/**
 * Runs a compiler for each unit, as many at a time as there are cores. When one fails the others are ended, and have
 * ended when this rejects: nobody writes any more.
 *
 * @param units In the order in which they are begun.
 * @param compile `signal` ends the compiler.
 * @param most At a time.
 * @throws What the first failing one throws.
 */
export async function compileAll(
  units: readonly string[],
  compile: (unit: string, signal: AbortSignal) => Promise<void>,
  most = Infinity,
): Promise<void> {
  const stop = new AbortController();
  const left = [...units];
  const lane = async () => {
    for (let unit = left.shift(); unit !== undefined; unit = left.shift()) {
      try {
        await compile(unit, stop.signal);
      } catch (error) {
        left.length = 0;
        stop.abort(error); // a second one changes nothing
      }
    }
  };
  await Promise.all(Array.from({length: Math.min(most, availableParallelism())}, lane));
  stop.signal.throwIfAborted();
}

async function run(
  {what, command, compileTimeoutMs, compilerAdvice}: AddonRecipe,
  [program, ...args]: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  const result = await runCommand(program, args, {timeoutMs: compileTimeoutMs, signal});
  if (result.code === 0) return;
  throw new ProvisionError(
    'build-failed',
    `the ${what} could not be built: ${compilerErrorLine(result)}`,
    `check the compiler (${compilerAdvice}), then run: ${command}`,
  );
}

/** Folder of the headers that addons are built with. */
export function nodeApiHeaders(): string {
  return join(dirname(createRequire(import.meta.url).resolve('node-api-headers/package.json')), 'include');
}
