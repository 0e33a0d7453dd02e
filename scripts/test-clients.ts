/**
 * @file `npm run test:clients`: the server tried with clients that others wrote, of the versions below, which are
 * installed in the user's cache: tritonclient, kserve and openai from PyPI, openai from npm. Needs Python 3 with venv.
 *
 * Usage: npm run test:clients
 */
import {spawnSync} from 'node:child_process';
import {existsSync, mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {fetchModel} from '../lib/language/index.js';
import {cacheFolder} from '../lib/provision/cache.js';
import {ServerProcess} from './load/server-process.js';

const FROM_PYPI = ['tritonclient[http]==2.73.0', 'kserve==0.21.0', 'openai==3.57.0'];
const FROM_NPM = 'openai@6.49.0';

if (process.argv.includes('--help')) console.log('Usage: npm run test:clients');
else await main();

async function main(): Promise<void> {
  const folder = join(cacheFolder(), 'clients');
  const python = installFromPypi(join(folder, 'venv'));
  installFromNpm(join(folder, 'npm'));
  const server = await ServerProcess.start([
    `digits=${here('../models/digits')}`,
    `chat=${await fetchModel('smollm2-135m-instruct')}`,
  ]);
  try {
    run(python, [here('deploy/clients.py'), server.url]);
    run(process.execPath, [here('deploy/clients.mjs'), server.url, join(folder, 'npm')]);
  } finally {
    await server.stop();
  }
}

/** Makes a virtual environment with the packages, if it has not got them; gives its Python. */
function installFromPypi(venv: string): string {
  const python = join(venv, 'bin', 'python');
  if (!existsSync(python)) run('python3', ['-m', 'venv', venv]);
  run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...FROM_PYPI]);
  return python;
}

function installFromNpm(folder: string): void {
  mkdirSync(folder, {recursive: true});
  run('npm', [
    'install',
    '--silent',
    '--no-audit',
    '--no-fund',
    '--ignore-scripts',
    '--prefix',
    folder,
    FROM_NPM,
  ]);
}

/** Runs a program with this terminal; what ends with another code than 0 ends all. */
function run(file: string, args: readonly string[]): void {
  const {status, error} = spawnSync(file, args, {stdio: 'inherit'});
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${file} ${args[0]} ended with ${status}`);
}

function here(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url));
}
