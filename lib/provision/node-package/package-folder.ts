/** @file Where a node package of TensorFlow.js is installed, and where its native part is. */
import {existsSync, readFileSync, readdirSync, realpathSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {inPackage} from '../package-root.js';

/**
 * Finds an installed package as Node does.
 *
 * @param from Folders to start from, in this order: by default as this package would import it, else as the working folder's
 *   code would.
 * @returns Its folder.
 */
export function packageFolderOf(
  name: string,
  from: readonly string[] = [inPackage(), process.cwd()],
): string | undefined {
  for (const start of from) {
    for (let folder = start; ; folder = dirname(folder)) {
      const candidate = join(folder, 'node_modules', name);
      if (existsSync(join(candidate, 'package.json'))) return realpathSync(candidate);
      if (dirname(folder) === folder) break;
    }
  }
  return undefined;
}

/**
 * Where tfjs-node's native part is.
 *
 * @returns The newest N-API version's that this Node can load; undefined if there is none.
 */
export function bindingPath(packageFolder: string): string | undefined {
  const supported = Number(process.versions.napi);
  const lib = join(packageFolder, 'lib');
  if (!existsSync(lib)) return undefined;
  return readdirSync(lib)
    .map((name) => Number(/^napi-v(\d+)$/.exec(name)?.[1] ?? Infinity))
    .filter((version) => version <= supported)
    .sort((a, b) => b - a)
    .map((version) => join(lib, `napi-v${version}`, 'tfjs_binding.node'))
    .find((path) => existsSync(path));
}

/** The libraries of TensorFlow that lie beside a node package's native part. */
export function packagedLibraries(packageFolder: string): string[] {
  const libraries = join(packageFolder, 'deps', 'lib');
  return existsSync(libraries) ? readdirSync(libraries).map((name) => join(libraries, name)) : [];
}

/** Name and version of an installed package, as its package.json says. */
export function manifestOf(packageFolder: string): {readonly name: string; readonly version: string} {
  return JSON.parse(readFileSync(join(packageFolder, 'package.json'), 'utf8')) as {
    name: string;
    version: string;
  };
}
