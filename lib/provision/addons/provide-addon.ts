/**
 * @file Addons by their recipes: built once a machine into the per-user cache, and tried in a child process before anyone
 * loads them, since a bad one ends its process. One that was seen to work is believed until something changes.
 */
import {existsSync, mkdirSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {cacheFolder, publishFolder, readJson, removePartials, writeJson} from '../cache.js';
import {recentFailure, rememberFailure} from '../failures.js';
import {fingerprint, hashOf} from '../fingerprint.js';
import {runChildProgram} from '../processes/child-program.js';
import {errorLine} from '../processes/command.js';
import {withLock} from '../processes/lock.js';
import {ProvisionError} from '../provision-error.js';
import {buildAddon} from './compile.js';
import type {AddonPlace, AddonRecipe, AddonRecipeFor} from './recipe.js';

/** The addon, proven to load and compute beside its node package; or why there is none. */
export type Native = {readonly path: string} | {readonly reason: string};

export interface FindAddonOptions {
  /** Folder of the installed node package, which must load. */
  readonly packageFolder: string;
  /** The per-user cache. */
  readonly cache?: string;
  /** Try it now, also if it was seen to work. */
  readonly fresh?: boolean;
}

export interface ProvideAddonOptions extends Omit<FindAddonOptions, 'fresh'> {
  /** Is told each step. */
  readonly log?: (line: string) => void;
  /** Build it also if that failed less than an hour ago, and again if it does not work: its file may be damaged. */
  readonly force?: boolean;
}

/** A proof that an addon works, as it is remembered. */
interface Proof {
  readonly addon: string;
  readonly fingerprint: string;
}

/** Where an addon is, or will be, in the cache. */
export function addonPath({folder, version, file}: AddonRecipe, cache: string): string {
  return join(cache, folder, version, file);
}

/**
 * The addon, if it has been built and works here. Costs a few milliseconds once that has been proven, and what its recipe
 * asks the machine.
 */
export async function findAddon(
  recipeFor: AddonRecipeFor,
  {packageFolder, cache = cacheFolder(), fresh = false}: FindAddonOptions,
): Promise<Native> {
  const recipe = await recipeFor({packageFolder, cache});
  return 'reason' in recipe ? recipe : find(recipe, {packageFolder, cache}, fresh);
}

/**
 * Builds the addon unless it is there, and tries it. With `TFJS_SPARSIFY_PROVISION=off` in the environment nothing is
 * built.
 *
 * @returns Never rejects for a machine on which it cannot work.
 */
export async function provideAddon(
  recipeFor: AddonRecipeFor,
  {packageFolder, cache = cacheFolder(), log = () => {}, force = false}: ProvideAddonOptions,
): Promise<Native> {
  const place = {packageFolder, cache};
  const recipe = await recipeFor(place);
  if ('reason' in recipe) return recipe;
  if (process.env.TFJS_SPARSIFY_PROVISION === 'off') return find(recipe, place, false);
  const path = addonPath(recipe, cache);
  const failure = recentFailure(cache, path);
  if (!force && failure !== undefined) return {reason: failure.reason};
  let native: Native;
  try {
    native = await buildAndFind(recipe, place, log, force);
  } catch (error) {
    const {message} = error as Error;
    native = {reason: error instanceof ProvisionError ? `${message}; ${error.help}` : message};
  }
  if ('reason' in native) {
    await rememberFailure(cache, path, {reason: native.reason, help: ''});
    log(`${recipe.without}: ${native.reason}`);
  }
  return native;
}

async function buildAndFind(
  recipe: AddonRecipe,
  place: AddonPlace,
  log: (line: string) => void,
  force: boolean,
): Promise<Native> {
  const isNew = await buildOnce(recipe, place.cache, log, false);
  const found = await find(recipe, place, force);
  if ('path' in found || isNew || !force) return found;
  log(`building the ${recipe.what} again, since what is there does not work: ${found.reason}`);
  await buildOnce(recipe, place.cache, log, true);
  return find(recipe, place, true);
}

/**
 * Builds an addon unless it is there; one process at a time.
 *
 * @param again One that is there is replaced.
 * @returns Whether it was built here and now.
 */
async function buildOnce(
  recipe: AddonRecipe,
  cache: string,
  log: (line: string) => void,
  again: boolean,
): Promise<boolean> {
  const path = addonPath(recipe, cache);
  if (existsSync(path) && !again) return false;
  const folder = join(cache, recipe.folder);
  mkdirSync(folder, {recursive: true});
  const build = async () => {
    removePartials(folder);
    if (existsSync(path) && !again) return false;
    await publishFolder(dirname(path), (partial) => buildAddon(recipe, partial, log));
    return true;
  };
  return withLock(`${folder}.lock`, build, {what: 'another build of the kernels', log});
}

/** Tries the addon unless it has been proven to work. */
async function find(
  recipe: AddonRecipe,
  {packageFolder, cache}: AddonPlace,
  fresh: boolean,
): Promise<Native> {
  const path = addonPath(recipe, cache);
  if (!existsSync(path)) return {reason: `${recipe.missing}; run: ${recipe.command}`};
  const proofPath = join(cache, 'proofs', `${recipe.kind}-${hashOf(`${path}\n${packageFolder}`)}.json`);
  const {texts, files} = recipe.dependsOn;
  const proof: Proof = {addon: path, fingerprint: fingerprint(texts, [path, ...files])};
  if (!fresh && readJson<Proof>(proofPath)?.fingerprint === proof.fingerprint) return {path};
  const reason = await attempt(recipe, path);
  if (reason !== undefined) return {reason};
  try {
    await writeJson(proofPath, proof);
  } catch {
    // A cache that cannot be written only means that the next process tries again.
  }
  return {path};
}

/** Why an addon cannot be used; undefined if it can. */
async function attempt({what, trial}: AddonRecipe, path: string): Promise<string | undefined> {
  const {program, packageFolder, env = {}, timeoutMs} = trial;
  const result = await runChildProgram(program, [join(packageFolder, 'dist', 'index.js'), path], {
    env: {...env, ...process.env, TF_CPP_MIN_LOG_LEVEL: '3'},
    timeoutMs,
  });
  if (result.code === 0) return undefined;
  if (result.timedOut) return `loading the ${what} did not end within ${timeoutMs / 1000} s`;
  if (result.signal !== null) return `loading the ${what} ended the process with ${result.signal}`;
  return errorLine(result);
}
