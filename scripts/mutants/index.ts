/**
 * @file Mutation testing: Stryker changes a source at one place after the other (a mutant) and runs the specs that
 * reach that place; a mutant that no spec notices has survived. For chosen folders and files, or for the lines that
 * changed since a commit.
 *
 * Stryker is installed in the cache on first use and not with the development packages, which it would make half as
 * many again. Its runner for mocha cannot load the mocha of this repository yet (12 renamed its inner files), so that
 * the specs run on the mocha that lies beside Stryker.
 */
import {execFileSync} from 'node:child_process';
import {existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync} from 'node:fs';
import {availableParallelism, tmpdir} from 'node:os';
import {join} from 'node:path';
import {parseArgs} from 'node:util';
import {cacheFolder} from '../../lib/provision/cache.js';
import {runCommand} from '../../lib/provision/processes/command.js';
import {withLock} from '../../lib/provision/processes/lock.js';
import {ROOT, inRoot, runNode, say} from '../set-up/repository.mjs';
import {UsageError, specsOf} from './specs-of.mjs';

/** The last of Stryker that Node 20 runs, the mocha that its runner takes, and the TypeScript that it reads settings with. */
const PACKAGES = [
  '@stryker-mutator/core@9.6.1',
  '@stryker-mutator/mocha-runner@9.6.1',
  'mocha@11.7.5',
  'typescript@6.0.3',
];

const REPORT = 'mutants';
const SANDBOX = `${REPORT}/sandbox-${process.pid}`;

/** Specs that run what is in dist/. */
const BUILT = /^spec\/(cli|serve|index|readme)\b/;

/** The share of mutants in percent that specs must notice where a wrong result is what could come of it. */
const WANTED = 85;

/** What is asked of the rooms that talk to people and programs. */
const WANTED_AT_THE_EDGE = 75;
const EDGE = /^lib\/(language|cli|serve|report)\//;

const USAGE = `Usage: npm run mutants -- [FOLDER | FILE | FILE:FIRST-LAST ...] [--since COMMIT] [--specs SPEC ...]

Changes the sources of lib/ at one place after the other and says which changes no spec notices.

  FOLDER, FILE     what to change: lib/stats, lib/scope/select-targets.ts, lib/scope/select-targets.ts:20-40
  --since COMMIT   change only lines that differ from COMMIT, in the named places or everywhere
  --specs SPEC     specs to run instead of those that belong to the folder; a path or a pattern, may be repeated
  --jobs N         processes at a time (default: one for each processor)
  --skip-static    leave out what is computed once at import, which costs a process of its own each

Writes mutants/index.html and mutants/mutants.json. Exit code 1 if fewer than ${WANTED} % are noticed (${WANTED_AT_THE_EDGE} % in lib/cli,
lib/serve, lib/report and lib/language). A mutant that changes nothing is marked in place, with the reason:
  // Stryker disable next-line EqualityOperator: an equal value has weight 0`;

/**
 * Runs Stryker as the command line asks.
 *
 * @returns The exit code.
 */
export async function mutants(args: readonly string[]): Promise<number> {
  try {
    return await run(args);
  } catch (error) {
    const {code, message} = error as Error & {code?: string};
    if (!(error instanceof UsageError) && !code?.startsWith('ERR_PARSE_ARGS')) throw error;
    say(`${message}\n\n${USAGE}`);
    return 2;
  }
}

async function run(args: readonly string[]): Promise<number> {
  const {values, positionals} = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      since: {type: 'string'},
      specs: {type: 'string', multiple: true},
      jobs: {type: 'string'},
      'skip-static': {type: 'boolean', default: false},
      help: {type: 'boolean', short: 'h', default: false},
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const jobs = values.jobs === undefined ? availableParallelism() : Number(values.jobs);
  if (!Number.isInteger(jobs) || jobs < 1) {
    throw new UsageError(`--jobs is ${values.jobs}; write a whole number from 1`);
  }
  const places = values.since === undefined ? named(positionals) : changedSince(values.since, positionals);
  if (places.length === 0) {
    say(`no line of lib/ differs from ${values.since}${positionals.length > 0 ? ' there' : ''}`);
    return 0;
  }
  const specs = values.specs ?? specsOf(places.map((place) => place.replace(/:[\d-]+$/, '')));
  say(`mutants of ${places.join(', ')}; specs: ${specs.join(', ')}`);
  const packages = await install();
  const folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-mutants-'));
  try {
    const settings = join(folder, 'settings.json');
    writeFileSync(
      settings,
      JSON.stringify(settingsOf({places, specs, packages, jobs, skipStatic: values['skip-static']})),
    );
    const hits = join(folder, 'hits');
    mkdirSync(hits);
    return await runNode([join(packages, '@stryker-mutator', 'core', 'bin', 'stryker.js'), 'run', settings], {
      env: {...process.env, SPARSIFY_MUTANT_HITS: hits},
    });
  } finally {
    rmSync(folder, {recursive: true, force: true});
    // Stryker leaves it behind when a run fails.
    rmSync(inRoot(SANDBOX), {recursive: true, force: true});
  }
}

/** What is changed, and how. */
interface MutantRun {
  readonly places: readonly string[];
  readonly specs: readonly string[];
  /** The node_modules folder that holds Stryker. */
  readonly packages: string;
  readonly jobs: number;
  readonly skipStatic: boolean;
}

/** The settings of Stryker, as its file has them. */
function settingsOf({places, specs, packages, jobs, skipStatic}: MutantRun): object {
  const atTheEdge = places.every((place) => EDGE.test(place));
  return {
    mutate: places,
    plugins: [join(packages, '@stryker-mutator', 'mocha-runner', 'dist', 'src', 'index.js')],
    testRunner: 'mocha',
    mochaOptions: {
      spec: specs,
      require: [inRoot('scripts', 'mutants', 'hooks.mjs')],
      'no-config': true,
      'no-package': true,
    },
    testRunnerNodeArgs: ['--import', 'tsx'],
    // The command line and the server are tested as they are built. In the sandbox there are no packages yet.
    buildCommand: specs.some((spec) => BUILT.test(spec))
      ? `node ${inRoot('node_modules', 'typescript', 'bin', 'tsc')} -p scripts/tsconfig.build.json --outDir dist`
      : undefined,
    coverageAnalysis: 'perTest',
    dryRunTimeoutMinutes: 60,
    ignoreStatic: skipStatic,
    concurrency: jobs,
    // A mutant that makes a loop endless is found out sooner than a busy machine makes a spec slow.
    timeoutMS: 20_000,
    // Below the packages, which the compiler finds from there.
    tempDirName: SANDBOX,
    // A spec that is run meanwhile may build dist anew, beside its place.
    ignorePatterns: ['/dist', '/dist-*', '/coverage', '/docs', `/${REPORT}`],
    reporters: ['clear-text', 'progress-append-only', 'html', 'json'],
    clearTextReporter: {logTests: false, reportTests: false, allowEmojis: false},
    htmlReporter: {fileName: join(REPORT, 'index.html')},
    jsonReporter: {fileName: join(REPORT, 'mutants.json')},
    thresholds: {high: 90, low: WANTED_AT_THE_EDGE, break: atTheEdge ? WANTED_AT_THE_EDGE : WANTED},
    disableTypeChecks: true,
    allowConsoleColors: process.stdout.isTTY,
  };
}

/** Places as they were given, as Stryker takes them. */
function named(places: readonly string[]): string[] {
  if (places.length === 0) throw new UsageError('nothing to change is named');
  return places.map((given) => {
    const [, path, lines = ''] = /^(.*?)(:\d+-\d+)?$/.exec(given.replace(/\/+$/, ''))!;
    if (!/^lib(\/|$)/.test(path) || !existsSync(inRoot(path))) {
      throw new UsageError(`there is no "${path}" among the sources of lib/`);
    }
    return statSync(inRoot(path)).isDirectory() ? `${path}/**/*.ts` : `${path}${lines}`;
  });
}

/**
 * What has changed since a commit.
 *
 * @param places Folders and files to which the answer is limited; none: all of lib/.
 * @returns `FILE:FIRST-LAST` for each run of lines that are new or changed since.
 */
function changedSince(commit: string, places: readonly string[]): string[] {
  const git = (...args: string[]) =>
    execFileSync('git', args, {cwd: ROOT, encoding: 'utf8', maxBuffer: 2 ** 28});
  try {
    git('rev-parse', '--verify', '--quiet', `${commit}^{commit}`);
  } catch {
    throw new UsageError(`--since ${commit}: git knows no such commit`);
  }
  const where = places.length > 0 ? places : ['lib'];
  const changes: string[] = [];
  let file = '';
  for (const line of git('diff', '--unified=0', '--no-color', commit, '--', ...where).split('\n')) {
    if (line.startsWith('+++ ')) file = line.startsWith('+++ b/') ? line.slice('+++ b/'.length) : '';
    const hunk = /^@@ -\S+ \+(\d+)(?:,(\d+))? @@/.exec(line);
    if (hunk === null || !file.endsWith('.ts') || hunk[2] === '0') continue;
    const first = Number(hunk[1]);
    changes.push(`${file}:${first}-${first + Number(hunk[2] ?? 1) - 1}`);
  }
  return changes;
}

/** Installs Stryker once; gives the node_modules folder in the cache that holds it. */
async function install(): Promise<string> {
  const folder = join(cacheFolder(), `stryker-${PACKAGES.join('-').replaceAll(/[^\w.-]+/g, '_')}`);
  const done = join(folder, 'installed');
  const packages = join(folder, 'node_modules');
  if (existsSync(done)) return packages;
  return withLock(`${folder}.lock`, async () => {
    if (existsSync(done)) return packages;
    say('installing Stryker (100 MB, once)');
    rmSync(folder, {recursive: true, force: true});
    mkdirSync(folder, {recursive: true});
    const options = ['--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error'];
    const result = await runCommand('npm', ['install', '--prefix', folder, ...options, ...PACKAGES]);
    if (result.code !== 0) throw new Error(`Stryker could not be installed: ${result.stderr.trim()}`);
    writeFileSync(done, '');
    return packages;
  });
}
