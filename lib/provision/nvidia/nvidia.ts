/** @file The NVIDIA driver and GPUs of this machine. Nothing is loaded here: programs are asked and files are looked for. */
import {existsSync, readFileSync} from 'node:fs';
import type {Failure} from '../failures.js';
import {runCommand} from '../processes/command.js';
import {findProgram} from '../processes/programs.js';

/** The first driver for CUDA 12 (NVIDIA's CUDA compatibility table: 525.60.13 on Linux). */
const MIN_DRIVER = 525;

/** TensorFlow's builds hold code for compute capability 6.0 and newer. */
const MIN_CAPABILITY = 6;

const ASK_TIMEOUT_MS = 20_000;

export interface GpuDevice {
  readonly name: string;
  /** As `9.0`. */
  readonly computeCapability: string;
  readonly memoryMiB: number;
}

/** The driver and the GPUs, and why TensorFlow cannot use one; reason and help are empty if nothing speaks against it. */
export interface Nvidia extends Failure {
  /** Version; null if there is no driver. */
  readonly driver: string | null;
  /** Empty also where nvidia-smi is missing, which alone tells. */
  readonly devices: readonly GpuDevice[];
  /** Whether there is a GPU with its driver. */
  readonly present: boolean;
}

/** Looks for NVIDIA GPUs. */
export async function findNvidia(): Promise<Nvidia> {
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
 * @param text `driver, name, capability, MiB`; a name may hold anything but a comma.
 */
export function parseDevices(text: string): (GpuDevice & {readonly driver: string})[] {
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

/** What speaks against computing on these devices. */
export function objection(driver: string | null, devices: readonly GpuDevice[], present: boolean): Failure {
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
export async function usedMemoryMiB(): Promise<number | null> {
  const program = nvidiaSmi();
  if (program === undefined) return null;
  const args = ['--query-gpu=memory.used', '--format=csv,noheader,nounits', '--id=0'];
  const {code, stdout} = await runCommand(program, args, {timeoutMs: ASK_TIMEOUT_MS});
  const used = Number.parseInt(stdout, 10);
  return code === 0 && Number.isFinite(used) ? used : null;
}

function nvidiaSmi(): string | undefined {
  const usual = ['/usr/bin/nvidia-smi', '/usr/local/nvidia/bin/nvidia-smi', '/usr/lib/wsl/lib/nvidia-smi'];
  return findProgram(['nvidia-smi']) ?? usual.find((path) => existsSync(path));
}

function kernelDriver(): string | null {
  try {
    return (
      /\b(\d{3,}\.\d+(?:\.\d+)?)\b/.exec(readFileSync('/proc/driver/nvidia/version', 'utf8'))?.[1] ?? null
    );
  } catch {
    return null; // no kernel module
  }
}

function hasDeviceFile(): boolean {
  return existsSync('/dev/nvidia0') || existsSync('/dev/dxg'); // the latter in WSL
}
