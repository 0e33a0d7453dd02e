#!/usr/bin/env node
/**
 * @file Behind every npm script: makes sure that what the task needs is there, says what it does meanwhile, and
 * runs the task. Plain Node without dependencies, since on a fresh clone nothing is installed; what comes after the
 * packages is TypeScript, which tsx, one of them, loads into this process.
 *
 * Usage: node scripts/run.mjs TASK [arguments for the task]
 */
import {ensureBuilt} from './set-up/build.mjs';
import {ensurePackages} from './set-up/packages.mjs';
import {build, check, coverage, docs, runScript, test} from './set-up/tasks.mjs';

/**
 * @typedef {object} Task
 * @property {string} summary
 * @property {readonly ('packages' | 'backend' | 'gpu' | 'dist' | 'smollm2' | 'browsers')[]} needs
 * @property {(args: readonly string[]) => number | Promise<number>} run Returns the exit code.
 * @property {string} [usage] What --help prints before the summary; without it the task prints its own help.
 */

/** @type {Readonly<Record<string, Task>>} */
const TASKS = {
  test: {
    summary: 'the specs',
    needs: ['packages', 'backend', 'dist', 'smollm2', 'browsers'],
    run: test,
    usage: 'npm test [-- spec/NAME.spec.ts ... OPTIONS OF MOCHA]',
  },
  demo: {
    summary: 'sparsify a real language model',
    needs: ['packages', 'backend', 'smollm2'],
    run: (args) => runScript('demo', args),
  },
  'demo-digits': {
    summary: 'sparsify the digits model on real images',
    needs: ['packages', 'backend'],
    run: (args) => runScript('demo-digits', args),
  },
  web: {
    summary: 'the page of models/web, built and served',
    needs: ['packages', 'backend', 'dist', 'smollm2'],
    run: (args) => runScript('web', args),
  },
  bench: {
    summary: 'all speed benchmarks, or one: bench NAME',
    needs: ['packages', 'backend'],
    run: ([name = 'all', ...args]) =>
      // Without a name the options come first.
      name.startsWith('-') ? runScript('bench/all', [name, ...args]) : runScript(`bench/${name}`, args),
  },
  'train-digits': {
    summary: 'train the digits model anew',
    needs: ['packages', 'backend'],
    run: (args) => runScript('train-digits', args),
  },
  'test-nodes': {
    summary: 'the specs on Node 22 and 24',
    needs: ['packages', 'backend', 'dist', 'smollm2', 'browsers'],
    run: async (args) => (await import('./set-up/test-nodes.ts')).testNodes(args),
    usage: 'npm run test:nodes [-- OPTIONS OF MOCHA]',
  },
  'test-load': {
    summary: 'the server under load, over loopback',
    needs: ['packages', 'backend', 'dist', 'smollm2'],
    run: (args) => runScript('test-load', args),
  },
  'test-clients': {
    summary: 'the server with clients that others wrote',
    needs: ['packages', 'backend', 'dist', 'smollm2'],
    run: (args) => runScript('test-clients', args),
  },
  'test-gpu': {
    summary: 'the CUDA kernels on an NVIDIA GPU, with tfjs-node-gpu',
    needs: ['packages', 'gpu'],
    run: (args) => runScript('test-gpu', args),
    usage: 'npm run test:gpu',
  },
  build: {summary: 'dist/', needs: ['packages'], run: build, usage: 'npm run build'},
  check: {
    summary: 'types, lint, format, unused code, the package',
    needs: ['packages', 'dist'],
    run: check,
    usage: 'npm run check',
  },
  coverage: {
    summary: 'the specs with line coverage',
    needs: ['packages', 'backend', 'dist', 'smollm2', 'browsers'],
    run: coverage,
    usage: 'npm run coverage [-- spec/NAME.spec.ts ... OPTIONS OF MOCHA]',
  },
  mutants: {
    summary: 'which small changes of the sources no spec notices',
    needs: ['packages', 'backend', 'smollm2'],
    run: async (args) => (await import('./mutants/index.ts')).mutants(args),
  },
  docs: {summary: 'API documentation in docs/', needs: ['packages'], run: docs, usage: 'npm run docs'},
};

const ENSURE = {
  packages: async () => {
    await ensurePackages();
    (await import('tsx/esm/api')).register();
  },
  backend: async () => (await import('./set-up/backend.ts')).ensureBackend(),
  gpu: async () => (await import('./set-up/backend.ts')).ensureGpu(),
  dist: ensureBuilt,
  smollm2: async () => (await import('./set-up/smollm2.ts')).ensureSmollm2(),
  browsers: async () => (await import('./set-up/browser.ts')).ensureBrowsers(),
};

/** Node 20.19 is the first 20 that loads ES modules from `require`, which tools here rely on. */
const MIN_NODE = [20, 19];

const [name = '--help', ...args] = process.argv.slice(2);
process.exitCode = await main(name, args);

/**
 * @param {string} name
 * @param {readonly string[]} args
 * @returns {Promise<number>} The exit code: 2 for wrong use.
 */
async function main(name, args) {
  if (name === '--help' || name === '-h') {
    console.log('Usage: node scripts/run.mjs TASK [arguments]\n');
    for (const [task, {summary}] of Object.entries(TASKS)) console.log(`  ${task.padEnd(14)}${summary}`);
    return 0;
  }
  if (!Object.hasOwn(TASKS, name)) {
    console.error(`there is no task "${name}"; there are ${Object.keys(TASKS).join(', ')}`);
    return 2;
  }
  const {needs, run, usage, summary} = TASKS[name];
  const asksForHelp = args.some((arg) => arg === '--help' || arg === '-h');
  if (asksForHelp && usage !== undefined) {
    console.log(`Usage: ${usage}\n\n${summary}`);
    return 0;
  }
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < MIN_NODE[0] || (major === MIN_NODE[0] && minor < MIN_NODE[1])) {
    console.error(`this is Node ${process.versions.node}; Node ${MIN_NODE.join('.')} or newer is needed`);
    return 1;
  }
  try {
    for (const need of needs) if (!asksForHelp || need === 'packages') await ENSURE[need]();
    return await run(args);
  } catch (error) {
    console.error(`tfjs-sparsify: ${/** @type {Error} */ (error).message}`);
    return 1;
  }
}
