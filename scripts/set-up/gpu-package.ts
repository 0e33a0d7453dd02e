/**
 * @file tfjs-node-gpu in the checkout, for the tasks on a GPU. npm leaves it out: for a package's own folder an optional
 * peer counts as there when it is not, so `npm install --no-save` of it answers 'up to date'. What it depends on is
 * tfjs-node's list, which is installed, so that its own files are all that is missing.
 */
import {existsSync, mkdirSync, mkdtempSync, renameSync, rmSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {lastLines, runCommand} from '../../lib/provision/processes/command.js';
import {inRoot, say} from './repository.mjs';

const PACKAGE = '@tensorflow/tfjs-node-gpu';
const VERSION = '4.22.0';
/** Of the package's tarball, as the registry tells it and npm holds it against. */
const INTEGRITY =
  'sha512-p//NN6DGiN4hInUmIkRffaFVMcdTREUMjPyjW04J7OXvB2zBlQimj61eFKSgRrH3f5TnOfKzb0n56he/B6a4bw==';
const TIMEOUT_MS = 5 * 60_000;

/**
 * Puts tfjs-node-gpu's files where Node looks for them, unless they are there.
 *
 * @param folder Where they are to be: beside the packages that they import.
 * @throws {Error} If npm cannot fetch the package, or it is not the known one.
 */
export async function installGpuPackage(folder: string = inRoot('node_modules', PACKAGE)): Promise<void> {
  if (existsSync(join(folder, 'package.json'))) return;
  say(`installing ${PACKAGE} ${VERSION}, without its own installer`);
  mkdirSync(dirname(folder), {recursive: true});
  // Beside its place, so that it can be renamed; the dot keeps Node and npm from taking it for a package.
  const partial = mkdtempSync(join(dirname(folder), '.tfjs-node-gpu-'));
  try {
    const packed = await run('npm', [
      ...['pack', `${PACKAGE}@${VERSION}`, '--json', '--pack-destination', partial],
      ...['--loglevel=error', '--foreground-scripts=false'],
    ]);
    const [{filename, integrity}] = JSON.parse(packed) as {filename: string; integrity: string}[];
    if (integrity !== INTEGRITY) {
      throw new Error(`${PACKAGE} ${VERSION} has integrity ${integrity}; expected ${INTEGRITY}`);
    }
    await run('tar', ['-xzf', join(partial, filename.replace(/^.*[\\/]/, '')), '-C', partial]);
    rmSync(folder, {recursive: true, force: true});
    renameSync(join(partial, 'package'), folder);
  } finally {
    rmSync(partial, {recursive: true, force: true});
  }
}

/** Runs a program; gives what it printed. */
async function run(program: string, args: readonly string[]): Promise<string> {
  const result = await runCommand(program, args, {timeoutMs: TIMEOUT_MS});
  if (result.code === 0) return result.stdout;
  throw new Error(`${PACKAGE} could not be installed: ${program} ${args[0]}: ${lastLines(result)}`);
}
