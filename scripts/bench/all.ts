/**
 * @file `npm run bench` without a name: every figure on speed and memory in one run. The native kernels for all shapes and
 * rows, the plain TypeScript kernel, then whole models; each part in a process of its own.
 *
 * Usage: npm run bench [-- --json]
 */
import {spawnSync} from 'node:child_process';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';

const HELP = `Usage: npm run bench [-- --json]

Runs, in about 6 minutes on 2 cores: kernels (all shapes, 1 to 256 rows), kernels on backend cpu (3 shapes, 1 row),
predict (whole models, memory). To run one of them with other options: npm run bench -- kernels --help

Output of --json, one object:
  machine, rows   of kernels; the rows of backend cpu follow those of tensorflow
  models, memory  of predict`;

/** In the order in which they run; minutes on 2 cores, for the estimate. */
const PARTS = [
  {title: 'native kernels', script: 'kernels', args: ['--seconds', '1.5'], minutes: 4},
  {
    title: 'kernel of backend cpu',
    script: 'kernels',
    args: ['--backend', 'cpu', '--shape', '4096x11008,576x1536,1536x576', '--rows', '1'],
    minutes: 0.5,
  },
  {title: 'whole models', script: 'predict', args: [], minutes: 0.8},
] as const;

/** What the parts print, merged. */
type Result = Readonly<Record<string, unknown>> & {readonly rows?: readonly unknown[]};

const {values: options} = parseArgs({
  options: {
    json: {type: 'boolean', default: false},
    help: {type: 'boolean', short: 'h', default: false},
  },
});

if (options.help) console.log(HELP);
else process.exitCode = bench();

/** Returns the exit code: that of the first part that failed. */
function bench(): number {
  let result: Result = {};
  for (const [i, {title, script, args}] of PARTS.entries()) {
    const left = Math.ceil(PARTS.slice(i).reduce((sum, {minutes}) => sum + minutes, 0));
    console.error(`\n${title}: part ${i + 1} of ${PARTS.length}, about ${left} min left in all`);
    const file = fileURLToPath(new URL(`${script}.ts`, import.meta.url));
    const command = [...process.execArgv, file, ...args, ...(options.json ? ['--json'] : [])];
    const {status, stdout} = spawnSync(process.execPath, command, {
      encoding: 'utf8',
      stdio: ['ignore', options.json ? 'pipe' : 'inherit', 'inherit'],
    });
    if (status !== 0) return status ?? 1;
    if (!options.json) continue;
    const part = JSON.parse(stdout) as Result;
    // The machine as the native kernels see it; the rows of all parts.
    result = {...part, ...result, rows: [...(result.rows ?? []), ...(part.rows ?? [])]};
  }
  if (options.json) console.log(JSON.stringify(result, null, 2));
  return 0;
}
