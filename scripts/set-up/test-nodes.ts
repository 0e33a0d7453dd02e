/** @file The specs on other Node versions, whose binaries npm packages bring. */
import {existsSync, mkdirSync, rmSync} from 'node:fs';
import {join} from 'node:path';
import {cacheFolder} from '../../lib/provision/cache.js';
import {runCommand} from '../../lib/provision/processes/command.js';
import {withLock} from '../../lib/provision/processes/lock.js';
import {ROOT, inRoot, say} from './repository.mjs';

const VERSIONS = [22, 24];
const RUN_TIMEOUT_MS = 20 * 60_000;

/**
 * Runs the spec suite on each version and prints a table.
 *
 * @param args Passed on to mocha.
 * @returns The exit code: 0 if all passed.
 */
export async function testNodes(args: readonly string[]): Promise<number> {
  const rows = [];
  for (const version of VERSIONS) {
    const node = await installNode(version);
    say(`running the specs on Node ${version}`);
    const started = Date.now();
    const mocha = [inRoot('node_modules', 'mocha', 'bin', 'mocha.js'), ...args];
    const result = await runCommand(node, mocha, {cwd: ROOT, timeoutMs: RUN_TIMEOUT_MS});
    const count = (what: string) =>
      Number(new RegExp(`^\\s*(\\d+) ${what}\\b`, 'm').exec(result.stdout)?.[1] ?? 0);
    const name = (await runCommand(node, ['--version'])).stdout.trim();
    const passed = result.code === 0 && count('passing') > 0;
    if (!passed) console.log(`${result.stdout}\n${result.stderr}`);
    rows.push({
      node: name,
      passing: count('passing'),
      failing: count('failing'),
      pending: count('pending'),
      seconds: Math.round((Date.now() - started) / 1000),
      result: passed ? 'passed' : `failed (exit code ${result.code ?? result.signal})`,
    });
  }
  console.table(rows);
  return rows.every(({result}) => result === 'passed') ? 0 : 1;
}

/**
 * Puts a Node binary into the cache.
 *
 * @param version Major version.
 * @returns Path of the binary.
 */
async function installNode(version: number): Promise<string> {
  const machine = `${process.platform}-${process.arch}`;
  const folder = join(cacheFolder(), `node-${version}-${machine}`);
  const binary = join(folder, 'node_modules', `node-${machine}`, 'bin', 'node');
  if (existsSync(binary)) return binary;
  const install = async () => {
    if (existsSync(binary)) return binary;
    say(`installing Node ${version} from the npm package node-${machine}`);
    mkdirSync(folder, {recursive: true});
    const args = ['install', '--prefix', folder, '--no-save', '--no-audit', '--no-fund', '--ignore-scripts'];
    const result = await runCommand('npm', [...args, `node-${machine}@${version}`]);
    if (result.code === 0 && existsSync(binary)) return binary;
    rmSync(folder, {recursive: true, force: true});
    throw new Error(`Node ${version} could not be installed for ${machine}: ${result.stderr.trim()}`);
  };
  return withLock(`${folder}.lock`, install, {what: 'another installation', log: say});
}
