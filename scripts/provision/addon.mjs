/**
 * @file What the addons with our kernels have in common, that for the CPU and that for CUDA: they are tried in a child
 * process, since a bad one ends its process, and one that was seen to work is believed until something changes.
 */
import {createHash} from 'node:crypto';
import {existsSync, mkdirSync} from 'node:fs';
import {createRequire} from 'node:module';
import {availableParallelism} from 'node:os';
import {dirname, join} from 'node:path';
import {removePartials, readJson, writeJson} from './cache.mjs';
import {errorLine, runCommand} from './command.mjs';
import {withLock} from './lock.mjs';

/** @typedef {import('./native.mjs').Native} Native */

/**
 * The addon, if it has been built and works here. Costs a few milliseconds once that has been proven.
 *
 * @param {object} addon
 * @param {string} addon.path Where it is if it has been built.
 * @param {string} addon.missing The reason if it has not.
 * @param {string} addon.cache
 * @param {string} addon.kind Of the proof's file name.
 * @param {string} addon.packageFolder Of the node package that it is loaded beside.
 * @param {() => string} addon.fingerprint Changes whenever the outcome of `attempt` may.
 * @param {() => Promise<string | undefined>} addon.attempt Why it cannot be used; undefined if it can.
 * @param {boolean} [addon.fresh] Attempt it also if it has been proven.
 * @returns {Promise<Native>}
 */
export async function provenAddon({path, missing, cache, kind, packageFolder, fingerprint, attempt, fresh}) {
  if (!existsSync(path)) return {reason: missing};
  const proofPath = join(cache, 'proofs', `${kind}-${hashOf(`${path}\n${packageFolder}`)}.json`);
  const present = fingerprint();
  if (!fresh && readJson(proofPath)?.fingerprint === present) return {path};
  const reason = await attempt();
  if (reason !== undefined) return {reason};
  try {
    writeJson(proofPath, {addon: path, fingerprint: present});
  } catch {
    // A cache that cannot be written only means that the next process tries again.
  }
  return {path};
}

/**
 * Builds an addon unless it is there; one process at a time.
 *
 * @param {string} path Where it is to be, in a folder of its own.
 * @param {string} lock Path of the lock file.
 * @param {() => Promise<void>} build
 * @param {{log?: (line: string) => void, again?: boolean}} [options] With `again` one that is there is replaced.
 * @returns {Promise<boolean>} Whether it was built here and now.
 */
export async function buildAddonOnce(path, lock, build, {log, again = false} = {}) {
  if (existsSync(path) && !again) return false;
  const folder = dirname(dirname(path));
  mkdirSync(folder, {recursive: true});
  const buildHere = async () => {
    removePartials(folder);
    if (existsSync(path) && !again) return false;
    await build();
    return true;
  };
  return withLock(lock, buildHere, {what: 'another build of the kernels', log});
}

/**
 * An addon that is built unless it is there, and tried.
 *
 * @param {object} addon
 * @param {string} addon.path
 * @param {string} addon.lock
 * @param {(line: string) => void} addon.log
 * @param {() => Promise<void>} addon.build
 * @param {(fresh: boolean) => Promise<Native>} addon.find Tries it; with `fresh` also if it was seen to work.
 * @param {boolean} addon.force If it was there but does not work, it is built again: its file may be damaged.
 * @returns {Promise<Native>}
 */
export async function builtAddon({path, lock, log, build, find, force}) {
  const isNew = await buildAddonOnce(path, lock, build, {log});
  const found = await find(force);
  if ('path' in found || isNew || !force) return found;
  log(`building the kernels again, since they do not work: ${found.reason}`);
  await buildAddonOnce(path, lock, build, {log, again: true});
  return find(true);
}

/**
 * Runs a compiler for each unit, as many at a time as there are cores. When one fails the others are ended, and have
 * ended when this rejects: nobody writes any more.
 *
 * @param {readonly string[]} units In the order in which they are begun.
 * @param {(unit: string, signal: AbortSignal) => Promise<void>} compile `signal` ends the compiler.
 * @param {number} [most] At a time.
 * @throws What the first failing one throws.
 */
export async function compileAll(units, compile, most = Infinity) {
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

/**
 * Loads an addon in a process of its own.
 *
 * @param {object} trial
 * @param {string} trial.child The script that does it.
 * @param {string} trial.what The addon's name in messages, after "loading" or "trying".
 * @param {string} trial.packageFolder
 * @param {string} trial.addon
 * @param {NodeJS.ProcessEnv} trial.env Beside what every child gets.
 * @param {number} trial.timeoutMs
 * @returns {Promise<string | undefined>} Why it cannot be used; undefined if it can.
 */
export async function tryAddon({child, what, packageFolder, addon, env, timeoutMs}) {
  const result = await runCommand(process.execPath, [child, join(packageFolder, 'dist', 'index.js'), addon], {
    env: {...env, NODE_OPTIONS: '', TF_CPP_MIN_LOG_LEVEL: '3'},
    timeoutMs,
  });
  if (result.code === 0) return undefined;
  if (result.timedOut) return `${what} did not end within ${timeoutMs / 1000} s`;
  if (result.signal !== null) return `${what} ended the process with ${result.signal}`;
  return errorLine(result);
}

/** Folder of the headers that addons are built with. */
export function nodeApiHeaders() {
  return join(dirname(createRequire(import.meta.url).resolve('node-api-headers/package.json')), 'include');
}

/**
 * 24 hex digits that name what a text says.
 *
 * @param {string} text
 */
export function hashOf(text) {
  return createHash('sha256').update(text).digest('hex').slice(0, 24);
}
