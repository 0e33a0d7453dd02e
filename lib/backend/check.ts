/** @file Whether a backend is installed and loads on this machine, without loading it into this process. */
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {checkLoad, checkNodePackage} from '../provision/node-package/load-check.js';
import {packageFolderOf} from '../provision/node-package/package-folder.js';
import {explainNoGpu} from '../provision/nvidia/explain-no-gpu.js';
import {PACKAGES, type BackendName} from './names.js';

/** What is known about a backend on this machine. */
export interface BackendCheck {
  readonly name: BackendName;
  /** The npm package that brings it. */
  readonly package: string;
  /** Version of that package; null if it is not installed. */
  readonly version: string | null;
  readonly loads: boolean;
  /** Why it does not load or is not of use; empty otherwise. */
  readonly reason: string;
  /** Version of the TensorFlow library behind it; null for wasm and cpu. */
  readonly tensorflow: string | null;
}

/** An installed package. */
export interface InstalledPackage {
  readonly folder: string;
  /** Path of the file that `require` would load. */
  readonly main: string;
  readonly version: string;
}

/** Finds the package of a backend as this package would import it, else as the working folder's code would. */
export function findPackage(name: BackendName): InstalledPackage | undefined {
  const folder = packageFolderOf(PACKAGES[name].package);
  if (folder === undefined) return undefined;
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    main: string;
    version: string;
  };
  return {folder, main: join(folder, manifest.main), version: manifest.version};
}

/**
 * Checks one backend.
 *
 * @param name
 * @param options With `fresh`, it is loaded in a child process now. Without, what was proven before counts for
 *     the node packages, and wasm and cpu count as loading when they are installed.
 */
export async function checkBackend(name: BackendName, {fresh = false} = {}): Promise<BackendCheck> {
  const installed = findPackage(name);
  const about = {name, package: PACKAGES[name].package, version: installed?.version ?? null};
  if (installed === undefined) {
    return {...about, loads: false, reason: 'not installed', tensorflow: null};
  }
  const kind = PACKAGES[name].registered;
  if (kind !== 'tensorflow') {
    if (!fresh) return {...about, loads: true, reason: '', tensorflow: null};
    const {loads, reason} = await checkLoad(kind, installed.main);
    return {...about, loads, reason, tensorflow: null};
  }
  const {loads, reason, tensorflow, usesGpu} = await checkNodePackage(installed.folder, {fresh});
  if (name !== 'node-gpu' || !loads || usesGpu) return {...about, loads, reason, tensorflow};
  const {reason: why} = await explainNoGpu(installed.folder);
  return {...about, loads, reason: `it computes on the CPU: ${why}`, tensorflow};
}
