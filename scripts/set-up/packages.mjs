/** @file Installed npm packages against package-lock.json; `npm ci` when they differ. */
import {cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync} from 'node:fs';
import {join} from 'node:path';
import {inRoot, runHere, say} from './repository.mjs';

/** What npm reads beside the registry. */
const NPM_FILES = ['package.json', 'package-lock.json', '.npmrc'];

/**
 * Installs the packages unless node_modules/ already has what package-lock.json says: beside their place, and moved there
 * when all are there, so that a kill half-way or two tasks at a time leave no half of them.
 */
export async function ensurePackages() {
  const reason = difference();
  if (reason === undefined) return;
  say(`installing npm packages (${reason})`);
  const beside = inRoot(`node_modules-${process.pid}`);
  rmSync(beside, {recursive: true, force: true});
  mkdirSync(beside);
  try {
    for (const name of NPM_FILES) cpSync(inRoot(name), join(beside, name));
    // Without install scripts: the only one that matters is tfjs-node's, which provisioning does better.
    const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
    const code = await runHere('npm', ['ci', ...options], {cwd: beside});
    if (code !== 0) throw new Error(`npm ci ended with code ${code}; its messages are above`);
    if (difference() === undefined) return; // another task was faster
    if (existsSync(inRoot('node_modules'))) renameSync(inRoot('node_modules'), join(beside, 'old'));
    renameSync(join(beside, 'node_modules'), inRoot('node_modules'));
  } finally {
    rmSync(beside, {recursive: true, force: true});
  }
}

/**
 * npm leaves a record of what it installed as the last step, in the form of the lock file.
 *
 * @returns {string | undefined} The first difference, undefined if there is none.
 */
function difference() {
  const wanted = packagesOf(inRoot('package-lock.json'));
  const installed = packagesOf(inRoot('node_modules', '.package-lock.json'));
  if (wanted === undefined) return 'there is no package-lock.json';
  if (installed === undefined) return 'none are installed';
  for (const [path, {version, integrity, optional}] of Object.entries(wanted)) {
    if (path === '' || (optional && installed[path] === undefined)) continue;
    const present = installed[path];
    if (present?.version !== version || (present.integrity ?? integrity) !== integrity) {
      return `${path.replace(/^.*node_modules\//, '')} ${version} is missing`;
    }
  }
  return undefined;
}

/**
 * @param {string} path
 * @returns {Record<string, {version: string, integrity?: string, optional?: boolean}> | undefined}
 */
function packagesOf(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    return undefined;
  }
}
