/**
 * @file CUDA's libraries, which libtensorflow opens by name when it looks for a GPU, and where the dynamic linker will find
 * them. Nothing is loaded here.
 */
import {existsSync} from 'node:fs';
import {delimiter, join} from 'node:path';
import {runCommand} from '../processes/command.js';
import {findProgram} from '../processes/programs.js';

const ASK_TIMEOUT_MS = 20_000;

/** The names that libtensorflow opens: all must, or it goes on without a GPU. libnvJitLink is needed by two of them. */
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

/** Where a library is; null if it is missed. */
export interface FoundLibrary {
  readonly name: string;
  readonly path: string | null;
}

/** Where the dynamic linker will find libraries: in LD_LIBRARY_PATH, in the folders given, then in the system's. */
export async function findLibraries(
  names: readonly string[],
  folders: readonly string[] = [],
): Promise<FoundLibrary[]> {
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
async function systemLibraries(): Promise<Map<string, string>> {
  const program =
    findProgram(['ldconfig']) ?? ['/sbin/ldconfig', '/usr/sbin/ldconfig'].find((path) => existsSync(path));
  const {stdout} =
    program === undefined ? {stdout: ''} : await runCommand(program, ['-p'], {timeoutMs: ASK_TIMEOUT_MS});
  const libraries = new Map<string, string>();
  for (const [, name, path] of stdout.matchAll(/^\s*(\S+) \([^)]*\) => (\S+)$/gm)) {
    if (!libraries.has(name)) libraries.set(name, path);
  }
  return libraries;
}

/**
 * The folders below `nvidia/` that the run path of libtensorflow_framework names, which opens all of these libraries; and
 * that of nvJitLink, which NVIDIA's own libraries find. cusolver's is missing there: wheels/gpu-libraries.ts links it into cublas'.
 */
const RUN_PATH = ['cublas', 'cuda_runtime', 'cudnn', 'cufft', 'cusparse', 'nvjitlink'];

/** Where libtensorflow of a package looks for CUDA's libraries before it looks in the system. */
export function packagedFolders(packageFolder: string): string[] {
  return RUN_PATH.map((name) => join(packageFolder, 'deps', 'nvidia', name, 'lib'));
}
