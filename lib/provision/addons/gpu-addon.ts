/**
 * @file The addon with the CUDA kernels for tfjs-node-gpu (lib/kernels/native/cuda): built with nvcc where it is there,
 * into the per-user cache at `native-gpu/<hash of sources, flags and TensorFlow's version>/sparsify-gpu.node`, and tried
 * on the GPU. Building it needs no GPU. Without nvcc sparse layers mask and multiply with TensorFlow's own operations.
 */
import {existsSync, readFileSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import {hashOf} from '../fingerprint.js';
import {checkNodePackage} from '../node-package/load-check.js';
import {bindingPath} from '../node-package/package-folder.js';
import {findNvidia} from '../nvidia/nvidia.js';
import {inPackage} from '../package-root.js';
import {findProgram} from '../processes/programs.js';
import {ProvisionError} from '../provision-error.js';
import {nodeApiHeaders} from './compile.js';
import type {AddonPlace, AddonRecipe, DoubtfulUnit, NoAddon} from './recipe.js';

const COMPILE_TIMEOUT_MS = 20 * 60_000;
/** TensorFlow compiles some of its code for a new kind of GPU at its first use. */
const LOAD_TIMEOUT_MS = 300_000;
/** At a time; each takes up to half a GB. */
const MOST_COMPILERS = 8;

/** The longest to compile, CUDA's, come first. `cuda/stream.cc` is compiled before all of them. */
const UNITS = [
  'cuda/decoder-attention.cu',
  'cuda/decoder-products.cu',
  'cuda/decoder-rows.cu',
  'cuda/sparsified-matmul.cu',
  'cuda/addon.cc',
  'cuda/cublas.cc',
  'cuda/decoder-cache.cc',
  'cuda/decoder-model.cc',
  'cuda/decoder-op.cc',
  'cuda/decoder-pass-input.cc',
  'cuda/decoder-rows-pass.cc',
  'cuda/decoder-session.cc',
  'cuda/decoder-token-pass.cc',
  'cuda/ops.cc',
  'shared/decoder-description.cc',
  'tensorflow/tensorflow-api.cc',
];

/** ftz: denormal numbers count as 0, as on the CPU. */
const FLAGS = [
  ...['-std=c++17', '-O3', '-ftz=true', '-DNAPI_VERSION=8'],
  ...['-Xcompiler', '-fPIC,-fvisibility=hidden'],
];
/** The runtime is linked in: it works with every driver that is new enough. nodelete: TensorFlow keeps pointers. */
const LINK_FLAGS = ['-shared', '-cudart', 'static', '-Xlinker', '-z,nodelete', '-Xlinker', '--as-needed'];

/** Compute capabilities to build for where the machine's is not known; the last one's PTX serves newer chips. */
const CAPABILITIES = ['8.0', '9.0'];

/** The recipe of the kernels for tfjs-node-gpu; none with `SPARSIFY_NATIVE=off` in the environment. Asks nvidia-smi. */
export async function gpuAddon({packageFolder, cache}: AddonPlace): Promise<AddonRecipe | NoAddon> {
  if (process.env.SPARSIFY_NATIVE === 'off') return {reason: 'SPARSIFY_NATIVE=off'};
  const tensorflow = (await checkNodePackage(packageFolder, {cache})).tensorflow ?? '';
  const capabilities = await capabilitiesHere();
  const sources = inPackage('lib', 'kernels', 'native');
  const contents = sourceFiles(sources).flatMap((name) => [`${name}\0`, readFileSync(join(sources, name))]);
  const hash = hashOf(...contents, [...FLAGS, ...LINK_FLAGS, tensorflow, ...capabilities].join(' '));
  const binding = bindingPath(packageFolder);
  return {
    what: 'CUDA kernels',
    missing: 'the CUDA kernels are not built',
    command: 'npx tfjs-sparsify provision --gpu',
    takes: 'with nvcc, about a minute',
    without: 'going on without the CUDA kernels',
    kind: 'native-gpu',
    folder: 'native-gpu',
    version: `${hash}-${process.platform}-${process.arch}`,
    file: 'sparsify-gpu.node',
    sources,
    units: UNITS,
    doubtful: stream(join(packageFolder, 'deps'), tensorflow),
    compiler: requireNvcc,
    compileFlags: (unit) => [
      ...[...FLAGS, '-I', nodeApiHeaders()],
      ...(unit.endsWith('.cu') ? architectures(capabilities) : []),
    ],
    linkFlags: LINK_FLAGS,
    mostCompilers: MOST_COMPILERS,
    compileTimeoutMs: COMPILE_TIMEOUT_MS,
    compilerAdvice: 'nvcc 12 or newer, and the C++ compiler that it works with',
    dependsOn: {
      texts: [...[process.env.LD_LIBRARY_PATH ?? '', process.env.CUDA_VISIBLE_DEVICES ?? ''], kernelModule()],
      files: [
        ...(binding === undefined ? [] : [binding]),
        ...['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'].map((name) =>
          join(packageFolder, 'deps', 'lib', name),
        ),
      ],
    },
    trial: {
      program: new URL('gpu-addon-child.js', import.meta.url),
      packageFolder,
      env: {TF_FORCE_GPU_ALLOW_GROWTH: 'true'},
      timeoutMs: LOAD_TIMEOUT_MS,
    },
  };
}

/** What finds TensorFlow's stream, with the headers of libtensorflow: without them every call waits for the device. */
function stream(deps: string, tensorflow: string): DoubtfulUnit {
  const include = join(deps, 'include');
  return {
    unit: 'cuda/stream.cc',
    compileFlags: ['-w', `-DSPARSIFY_TENSORFLOW_VERSION="${tensorflow}"`, '-I', include],
    linkFlags: [
      ...['-L', join(deps, 'lib')],
      ...['-l:libtensorflow_framework.so.2', '-l:libtensorflow_cc.so.2'],
    ],
    header: join(include, 'tensorflow', 'core', 'framework', 'op_kernel.h'),
    without: "TensorFlow's stream cannot be used, so every call waits",
  };
}

/** nvcc, on PATH or where CUDA's installers put it. */
export function findNvcc(): string | undefined {
  const homes = [process.env.CUDA_HOME, process.env.CUDA_PATH, '/usr/local/cuda', '/opt/cuda'];
  const usual = homes.flatMap((home) => (home ? [join(home, 'bin', 'nvcc')] : []));
  return findProgram(['nvcc']) ?? usual.find((path) => existsSync(path));
}

function requireNvcc(): string[] {
  const nvcc = findNvcc();
  if (nvcc !== undefined) return [nvcc];
  throw new ProvisionError(
    'no-nvcc',
    'there is no nvcc on PATH or in /usr/local/cuda/bin, which builds the CUDA kernels',
    "install NVIDIA's CUDA toolkit 12 or newer (Debian, Ubuntu: apt-get install nvidia-cuda-toolkit)",
  );
}

/**
 * nvcc's flags for machine code for these compute capabilities, and PTX of the last for newer chips.
 *
 * @param capabilities In ascending order.
 */
export function architectures(capabilities: readonly string[]): string[] {
  return capabilities.flatMap((capability, i) => {
    const number = capability.replace('.', '');
    const ptx = i === capabilities.length - 1 ? `,compute_${number}` : '';
    return ['-gencode', `arch=compute_${number},code=[sm_${number}${ptx}]`];
  });
}

/** The compute capabilities to build for, in ascending order. */
async function capabilitiesHere(): Promise<string[]> {
  const {devices} = await findNvidia();
  const own = [...new Set(devices.map(({computeCapability}) => computeCapability))];
  return (own.length === 0 ? [...CAPABILITIES] : own).sort((a, b) => Number(a) - Number(b));
}

/** What the addon is built from, headers too, with the folders that it shares with the addon for the CPU. */
function sourceFiles(sources: string): string[] {
  return ['cuda', 'node', 'shared', 'tensorflow']
    .flatMap((folder) => readdirSync(join(sources, folder)).map((name) => `${folder}/${name}`))
    .filter((name) => /\.(cc|cu|h|cuh)$/.test(name))
    .sort();
}

/** What the driver's kernel module says of itself; empty where there is none. */
function kernelModule(): string {
  const path = '/proc/driver/nvidia/version';
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}
