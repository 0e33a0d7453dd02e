/** @file `tfjs-sparsify doctor`: prints which backends load, which is used and why, and what would be faster. */
import {Command} from 'commander';
import {doctor, type Diagnosis} from '../../backend/doctor.js';
import type {GpuDiagnosis} from '../../backend/gpu.js';

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
  native     {loads, reason} of the native sparse kernels for tfjs-node or tfjs-node-gpu, or null on another backend
  wasm       {threads, why} of the kernels and the decoder in WebAssembly, or null on another backend
  faster     {what, command}, or null
  gpu        {driver, devices: [{name, computeCapability, memoryMiB}], libraries: [{name, path}], works, reason, help}, or
             null without an NVIDIA GPU and tfjs-node-gpu; path is null if missed, works says whether results were seen
             in the GPU's memory
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
  wasm,
  faster,
  gpu,
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
  if (gpu !== null) lines.push(...describeGpu(gpu));
  if (used === null) lines.push(`Used        none: ${problem ?? ''}`);
  else
    lines.push(
      `Used        ${used.name}${tensorflow === null ? '' : `, TensorFlow ${tensorflow}`}: ${used.why}`,
    );
  if (native !== null) {
    const state = native.loads ? 'load' : 'do not load, masked dense operations are used';
    const but = native.loads && native.reason !== '' ? ', but not in a program that tried lately' : '';
    const reason = native.reason === '' ? '' : `: ${native.reason}`;
    lines.push(`Kernels     native sparse kernels ${state}${but}${reason}`);
  }
  if (wasm !== null) lines.push(`Kernels     sparse kernels in WebAssembly; the decoder on ${wasm.why}`);
  if (faster === null) lines.push('Faster      nothing that is known');
  else lines.push(`Faster      ${faster.what}:`, `            ${faster.command}`);
  lines.push(`Cache       ${cache}`);
  return lines.join('\n');
}

function describeGpu({driver, devices, libraries, works, reason, help}: GpuDiagnosis): string[] {
  const missed = libraries.filter(({path}) => path === null).map(({name}) => name);
  const named = devices.map(
    ({name, computeCapability, memoryMiB}) =>
      `${name}, compute capability ${computeCapability}, ${(memoryMiB / 1024).toFixed(0)} GiB`,
  );
  return [
    `GPU         ${named.join('; ') || 'not named by nvidia-smi'}; driver ${driver ?? 'missing'}`,
    `            CUDA libraries: ${libraries.length - missed.length} found` +
      (missed.length === 0 ? '' : `, missed: ${missed.join(' ')}`),
    works ? '            tfjs-node-gpu computes on it' : `            not used: ${reason}; ${help}`,
  ];
}
