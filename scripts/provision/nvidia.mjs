/**
 * @file What this machine has of NVIDIA's: the driver, the GPUs, and the CUDA libraries that libtensorflow opens by name
 * when it looks for a GPU. Nothing is loaded here: programs are asked and files are looked for.
 */
import {existsSync, readFileSync} from 'node:fs';
import {delimiter, join} from 'node:path';
import {findProgram, runCommand} from './command.mjs';

/** The first driver for CUDA 12 (NVIDIA's CUDA compatibility table: 525.60.13 on Linux). */
const MIN_DRIVER = 525;

/** TensorFlow's builds hold code for compute capability 6.0 and newer. */
const MIN_CAPABILITY = 6;

const ASK_TIMEOUT_MS = 20_000;

/**
 * @typedef {object} GpuDevice
 * @property {string} name
 * @property {string} computeCapability As `9.0`.
 * @property {number} memoryMiB
 */

/**
 * @typedef {object} Nvidia
 * @property {string | null} driver Version; null if there is no driver.
 * @property {readonly GpuDevice[]} devices Empty also where nvidia-smi is missing, which alone tells.
 * @property {boolean} present Whether there is a GPU with its driver.
 * @property {string} reason Why TensorFlow cannot use one; empty if nothing speaks against it.
 * @property {string} help What to do about it.
 */

/**
 * Looks for NVIDIA GPUs.
 *
 * @returns {Promise<Nvidia>}
 */
export async function findNvidia() {
  const program = nvidiaSmi();
  const query = '--query-gpu=driver_version,name,compute_cap,memory.total';
  const result =
    program &&
    (await runCommand(program, [query, '--format=csv,noheader,nounits'], {timeoutMs: ASK_TIMEOUT_MS}));
  const rows = result && result.code === 0 ? parseDevices(result.stdout) : [];
  const driver = rows[0]?.driver ?? kernelDriver();
  const present = rows.length > 0 || (driver !== null && hasDeviceFile());
  const devices = rows.map(({name, computeCapability, memoryMiB}) => ({name, computeCapability, memoryMiB}));
  return {driver, devices, present, ...objection(driver, devices, present)};
}

/**
 * Parses the answer of nvidia-smi, one line a GPU.
 *
 * @param {string} text `driver, name, capability, MiB`; a name may hold anything but a comma.
 */
export function parseDevices(text) {
  return text
    .split('\n')
    .map((line) => line.split(',').map((field) => field.trim()))
    .filter((fields) => fields.length === 4 && /^\d/.test(fields[0]))
    .map(([driver, name, computeCapability, memory]) => ({
      driver,
      name,
      computeCapability,
      memoryMiB: Number(memory),
    }));
}

/**
 * What speaks against computing on these devices.
 *
 * @param {string | null} driver
 * @param {readonly GpuDevice[]} devices
 * @param {boolean} present
 * @returns {{reason: string, help: string}}
 */
export function objection(driver, devices, present) {
  if (!present) {
    return {
      reason:
        'there is no NVIDIA GPU, or its driver is not installed (no nvidia-smi that answers, no /dev/nvidia0)',
      help: 'install the NVIDIA driver (in a container: start it with --gpus all), check that nvidia-smi lists the GPU',
    };
  }
  if (driver !== null && Number.parseInt(driver, 10) < MIN_DRIVER) {
    return {
      reason: `the NVIDIA driver is ${driver}; TensorFlow's CUDA 12 needs ${MIN_DRIVER} or newer`,
      help: `update the NVIDIA driver to ${MIN_DRIVER} or newer`,
    };
  }
  if (
    devices.length > 0 &&
    devices.every(({computeCapability}) => Number.parseFloat(computeCapability) < MIN_CAPABILITY)
  ) {
    const [{name, computeCapability}] = devices;
    return {
      reason: `${name} has compute capability ${computeCapability}; TensorFlow needs ${MIN_CAPABILITY}.0 or newer`,
      help: 'use a newer GPU, or the CPU: SPARSIFY_BACKEND=node',
    };
  }
  return {reason: '', help: ''};
}

/** Megabytes (MiB) of the first GPU's memory that are in use; null if nobody tells. */
export async function usedMemoryMiB() {
  const program = nvidiaSmi();
  if (program === undefined) return null;
  const args = ['--query-gpu=memory.used', '--format=csv,noheader,nounits', '--id=0'];
  const {code, stdout} = await runCommand(program, args, {timeoutMs: ASK_TIMEOUT_MS});
  const used = Number.parseInt(stdout, 10);
  return code === 0 && Number.isFinite(used) ? used : null;
}

/** @returns {string | undefined} */
function nvidiaSmi() {
  const usual = ['/usr/bin/nvidia-smi', '/usr/local/nvidia/bin/nvidia-smi', '/usr/lib/wsl/lib/nvidia-smi'];
  return findProgram(['nvidia-smi']) ?? usual.find((path) => existsSync(path));
}

function kernelDriver() {
  try {
    return (
      /\b(\d{3,}\.\d+(?:\.\d+)?)\b/.exec(readFileSync('/proc/driver/nvidia/version', 'utf8'))?.[1] ?? null
    );
  } catch {
    return null; // no kernel module
  }
}

function hasDeviceFile() {
  return existsSync('/dev/nvidia0') || existsSync('/dev/dxg'); // the latter in WSL
}

/**
 * The names that libtensorflow opens: all must, or it goes on without a GPU. libnvJitLink is needed by two of them.
 */
export const CUDA_LIBRARIES = [
  'libcudart.so.12',
  'libcublas.so.12',
  'libcublasLt.so.12',
  'libcufft.so.11',
  'libcusolver.so.11',
  'libcusparse.so.12',
  'libnvJitLink.so.12',
  'libcudnn.so.9',
];

/** The driver's own library, which comes with the driver and nowhere else. */
export const DRIVER_LIBRARY = 'libcuda.so.1';

/**
 * Where the dynamic linker will find libraries: in LD_LIBRARY_PATH, in the folders given, then in the system's.
 *
 * @param {readonly string[]} names
 * @param {readonly string[]} [folders]
 * @returns {Promise<{name: string, path: string | null}[]>}
 */
export async function findLibraries(names, folders = []) {
  const wanted = (process.env.LD_LIBRARY_PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  const known = await systemLibraries();
  return names.map((name) => ({
    name,
    path:
      [...wanted, ...folders].map((folder) => join(folder, name)).find((path) => existsSync(path)) ??
      known.get(name) ??
      null,
  }));
}

/** The libraries that the system's linker knows, by name. */
async function systemLibraries() {
  const program =
    findProgram(['ldconfig']) ?? ['/sbin/ldconfig', '/usr/sbin/ldconfig'].find((path) => existsSync(path));
  const {stdout} =
    program === undefined ? {stdout: ''} : await runCommand(program, ['-p'], {timeoutMs: ASK_TIMEOUT_MS});
  /** @type {Map<string, string>} */
  const libraries = new Map();
  for (const [, name, path] of stdout.matchAll(/^\s*(\S+) \([^)]*\) => (\S+)$/gm)) {
    if (!libraries.has(name)) libraries.set(name, path);
  }
  return libraries;
}

/**
 * The folders below `nvidia/` that the run path of libtensorflow_framework names, which opens all of these libraries; and
 * that of nvJitLink, which NVIDIA's own libraries find. cusolver's is missing there: gpu-wheels.mjs links it into cublas'.
 */
const RUN_PATH = ['cublas', 'cuda_runtime', 'cudnn', 'cufft', 'cusparse', 'nvjitlink'];

/** Where libtensorflow of a package looks for CUDA's libraries before it looks in the system. */
export function packagedFolders(/** @type {string} */ packageFolder) {
  return RUN_PATH.map((name) => join(packageFolder, 'deps', 'nvidia', name, 'lib'));
}
