/** @file What is known about NVIDIA's side of this machine: driver, GPUs, CUDA's libraries, and whether they work. */
import {
  CUDA_LIBRARIES,
  DRIVER_LIBRARY,
  findLibraries,
  packagedFolders,
  type FoundLibrary,
} from '../provision/nvidia/cuda-libraries.js';
import {explainNoGpu} from '../provision/nvidia/explain-no-gpu.js';
import {findNvidia, type GpuDevice} from '../provision/nvidia/nvidia.js';
import {findPackage, type BackendCheck} from './check.js';

/** The findings; fields are only ever added. */
export interface GpuDiagnosis {
  /** Version; null if there is no driver. */
  readonly driver: string | null;
  /** As nvidia-smi lists them; empty without it. */
  readonly devices: readonly GpuDevice[];
  /** What TensorFlow opens by name, and where the dynamic linker will find it; null if it is missed. */
  readonly libraries: readonly FoundLibrary[];
  /** Whether a result of tfjs-node-gpu was seen in the GPU's memory. */
  readonly works: boolean;
  /** Why it does not work; empty if it does. */
  readonly reason: string;
  /** What to do about that; empty if it works. */
  readonly help: string;
}

/**
 * Examines the GPU. Nothing is loaded into this process.
 *
 * @param check That of backend `node-gpu`, made just now.
 * @returns Null if there is neither a GPU nor tfjs-node-gpu.
 */
export async function diagnoseGpu(check: BackendCheck): Promise<GpuDiagnosis | null> {
  const {driver, devices, present, reason, help} = await findNvidia();
  const folder = findPackage('node-gpu')?.folder;
  if (!present && folder === undefined) return null;
  const libraries = await findLibraries(
    [DRIVER_LIBRARY, ...CUDA_LIBRARIES],
    folder === undefined ? [] : packagedFolders(folder),
  );
  const found = {driver, devices, libraries};
  if (check.loads && check.reason === '') return {...found, works: true, reason: '', help: ''};
  if (reason !== '') return {...found, works: false, reason, help};
  const provision = 'npx tfjs-sparsify provision --gpu';
  if (folder === undefined) {
    const install = `npm install --ignore-scripts ${check.package}@4.22.0 && ${provision}`;
    return {...found, works: false, reason: `${check.package} is not installed`, help: install};
  }
  if (!check.loads) return {...found, works: false, reason: check.reason, help: provision};
  return {...found, works: false, ...(await explainNoGpu(folder))};
}
