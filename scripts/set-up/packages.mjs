/** @file Installed npm packages against package-lock.json; `npm ci` when they differ. */
import {createHash} from 'node:crypto';
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {cacheFolder} from '../provision/cache.mjs';
import {withLock} from '../provision/lock.mjs';
import {ROOT, inRoot, runHere, say} from './repository.mjs';

/** Installs the packages unless node_modules/ already has what package-lock.json says. */
export async function ensurePackages() {
  if (difference() === undefined) return;
  const id = createHash('sha256').update(ROOT).digest('hex').slice(0, 24);
  const lock = join(cacheFolder(), 'locks', `packages-${id}.lock`);
  await withLock(lock, install, {what: 'another installation', log: say});
}

async function install() {
  const reason = difference();
  if (reason === undefined) return;
  say(`installing npm packages (${reason})`);
  // Without install scripts: the only one that matters is tfjs-node's, which provisioning does better.
  const code = await runHere('npm', [
    'ci',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ]);
  if (code !== 0) throw new Error(`npm ci ended with code ${code}; its messages are above`);
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
