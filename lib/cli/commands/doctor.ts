/** @file `tfjs-sparsify doctor`: prints which backends load, which is used and why, and what would be faster. */
import {Command} from 'commander';
import {doctor, type Diagnosis} from '../../backend/doctor.js';

const HELP = `
Example:
  $ tfjs-sparsify doctor
  $ SPARSIFY_BACKEND=wasm tfjs-sparsify doctor --json

Output of --json, one object:
  node       {version, platform, arch, napi}
  processor  {model, threads, features: string[]}
  backends   [{name, package, version, loads, reason, tensorflow}], in the order in which they are tried;
             version is null if not installed, reason is empty if it loads
  used       {name, why}, or null if none can be used
  problem    why none can be used, or null
  tensorflow version of the TensorFlow library behind the used backend, or null
  native     {loads, reason} of the native sparse kernels for tfjs-node, or null on another backend
  faster     {what, command}, or null
  cache      folder of what provisioning keeps

Exit code: 0, or 1 if no backend can be used or the one asked for does not load, 2 on wrong use.`;

/** The command, to add to a program. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('which backends load, which is used and why, and what would be faster')
    .option('--json', 'print one JSON object')
    .addHelpText('after', HELP)
    .action(async ({json}: {json?: boolean}) => {
      const diagnosis = await doctor();
      console.log(json === true ? JSON.stringify(diagnosis, null, 2) : describe(diagnosis));
      if (diagnosis.used === null) process.exitCode = 1;
    });
}

/** The findings for a reader. */
function describe({
  node,
  processor,
  backends,
  used,
  problem,
  tensorflow,
  native,
  faster,
  cache,
}: Diagnosis): string {
  const lines = [
    `Node        ${node.version}, ${node.platform} ${node.arch}, N-API ${node.napi}`,
    `Processor   ${processor.model}, ${processor.threads} threads`,
    `            ${processor.features.join(' ') || 'instruction sets unknown'}`,
    'Backends',
    ...backends.map((backend) => {
      const version = backend.version === null ? backend.package : `${backend.package} ${backend.version}`;
      const library = backend.tensorflow === null ? '' : ` (TensorFlow ${backend.tensorflow})`;
      const state = backend.loads ? 'loads' : 'does not load';
      const reason = backend.reason === '' ? '' : `: ${backend.reason}`;
      return `  ${backend.name.padEnd(10)}${state}${library}${reason} [${version}]`;
    }),
  ];
  if (used === null) lines.push(`Used        none: ${problem ?? ''}`);
  else
    lines.push(
      `Used        ${used.name}${tensorflow === null ? '' : `, TensorFlow ${tensorflow}`}: ${used.why}`,
    );
  if (native !== null) {
    const state = native.loads ? 'load' : `do not load, masked dense operations are used: ${native.reason}`;
    lines.push(`Kernels     native sparse kernels ${state}`);
  }
  if (faster === null) lines.push('Faster      nothing that is known');
  else lines.push(`Faster      ${faster.what}:`, `            ${faster.command}`);
  lines.push(`Cache       ${cache}`);
  return lines.join('\n');
}
