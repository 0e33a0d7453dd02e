/** @file What the tasks of run.mjs do once everything that they need is there. */
import {existsSync, readdirSync} from 'node:fs';
import {createRequire} from 'node:module';
import {buildDist} from './build.mjs';
import {checkPackage} from './check-package.mjs';
import {inRoot, runNode, say} from './repository.mjs';

const bin = {
  mocha: inRoot('node_modules', 'mocha', 'bin', 'mocha.js'),
  tsc: inRoot('node_modules', 'typescript', 'bin', 'tsc'),
  eslint: inRoot('node_modules', 'eslint', 'bin', 'eslint.js'),
  prettier: inRoot('node_modules', 'prettier', 'bin', 'prettier.cjs'),
  knip: inRoot('node_modules', 'knip', 'bin', 'knip.js'),
  c8: inRoot('node_modules', 'c8', 'bin', 'c8.js'),
  typedoc: inRoot('node_modules', 'typedoc', 'bin', 'typedoc'),
};

/** @param {readonly string[]} args Passed on to mocha: files of specs run alone. */
export function test(args) {
  return runNode([bin.mocha, ...args]);
}

/**
 * Runs a TypeScript file of scripts/.
 *
 * @param {string} name Without extension; a folder's name lists what is in it.
 * @param {readonly string[]} args
 */
export async function runScript(name, args) {
  const file = inRoot('scripts', `${name}.ts`);
  if (existsSync(file)) return runNode(['--import', 'tsx', file, ...args]);
  const folder = inRoot('scripts', name.slice(0, name.lastIndexOf('/') + 1));
  const known = existsSync(folder) ? readdirSync(folder).filter((entry) => entry.endsWith('.ts')) : [];
  say(
    `there is no scripts/${name}.ts; there are ${known.map((entry) => entry.slice(0, -3)).join(', ') || 'none'}`,
  );
  return 2;
}

export function build() {
  return buildDist();
}

/** Types, lint, format, dead code, and the package as it would be published; all run, so that one call shows everything. */
export async function check() {
  const steps = [
    ['types', [bin.tsc, '--noEmit', '-p', inRoot('tsconfig.json')]],
    ['types of scripts', [bin.tsc, '-p', inRoot('scripts', 'tsconfig.scripts.json')]],
    ['types of the page', [bin.tsc, '--noEmit', '-p', inRoot('models', 'web', 'tsconfig.json')]],
    ['lint', [bin.eslint, '--config', inRoot('scripts', 'eslint.config.mjs'), '.']],
    ['format', [bin.prettier, '--check', '--log-level', 'warn', '.']],
    ['unused files, exports and dependencies', [bin.knip, '--no-progress']],
  ];
  const failed = [];
  for (const [name, args] of /** @type {[string, string[]][]} */ (steps)) {
    if ((await runNode(args)) !== 0) failed.push(name);
  }
  if ((await checkPackage()) !== 0) failed.push('package');
  say(
    failed.length === 0
      ? 'types, lint, format, unused code and the package are in order'
      : `check failed: ${failed.join(', ')}`,
  );
  return failed.length === 0 ? 0 : 1;
}

/**
 * Where Node can `require` an ES module mocha does so, and gets another translation of a source than a process
 * that a spec starts, which imports it; c8 would lay the counts of one over the lines of the other.
 *
 * @param {readonly string[]} args Passed on to mocha.
 */
export function coverage(args) {
  const {timeout, reporter, spec, require: hooks} = createRequire(import.meta.url)(inRoot('.mocharc.cjs'));
  const node = [process.execPath, '--no-experimental-require-module', '--import', 'tsx'];
  const required = hooks.flatMap((/** @type {string} */ hook) => ['--require', hook]);
  const settings = ['--no-config', ...required, '--timeout', String(timeout), '--reporter', reporter];
  const specs = args.some((arg) => arg.endsWith('.spec.ts')) ? [] : spec;
  return runNode([bin.c8, ...node, bin.mocha, ...settings, ...specs, ...args]);
}

export function docs() {
  return runNode([bin.typedoc, '--options', inRoot('scripts', 'typedoc.json')]);
}
