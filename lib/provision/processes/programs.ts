/** @file Programs of the machine that set-up needs: where they are. */
import {accessSync, constants, statSync} from 'node:fs';
import {delimiter, join} from 'node:path';
import {ProvisionError} from '../provision-error.js';
import {errorLine, runCommand} from './command.js';

/**
 * Looks a program up on PATH.
 *
 * @param names Tried in this order.
 * @returns The first that is there, as a full path.
 */
export function findProgram(names: readonly string[]): string | undefined {
  for (const name of names) {
    for (const folder of (process.env.PATH ?? '').split(delimiter)) {
      const path = join(folder, name);
      try {
        accessSync(path, constants.X_OK);
        if (folder !== '' && statSync(path).isFile()) return path;
      } catch {
        // Not in this folder.
      }
    }
  }
  return undefined;
}

/**
 * The C++ compiler: `CXX`, or what is on PATH.
 *
 * @returns The program with its first arguments, as `CXX` may have some.
 */
export function cxxCompiler(): string[] | undefined {
  const wanted = process.env.CXX?.trim();
  if (wanted) return wanted.split(/\s+/);
  const found = findProgram(['g++', 'clang++', 'c++']);
  return found === undefined ? undefined : [found];
}

/**
 * The C++ compiler, which must be there.
 *
 * @param purpose What it is needed for, as `builds the native kernels`.
 * @throws {ProvisionError} `no-compiler`.
 */
export function requireCxxCompiler(purpose: string): string[] {
  const compiler = cxxCompiler();
  if (compiler !== undefined) return compiler;
  throw new ProvisionError(
    'no-compiler',
    `there is no C++ compiler on PATH, which ${purpose}`,
    'install one (Debian, Ubuntu: apt-get install g++)',
  );
}

/**
 * A Python with pip.
 *
 * @param purpose What it is needed for.
 * @returns Its path.
 * @throws {ProvisionError} `no-python`, `no-pip`.
 */
export async function requirePython(purpose = 'fetches TensorFlow and runs node-gyp'): Promise<string> {
  const python = findProgram(['python3', 'python']);
  if (python === undefined) {
    throw new ProvisionError(
      'no-python',
      `there is no python3 on PATH, which ${purpose}`,
      'install Python 3 with pip (Debian, Ubuntu: apt-get install python3 python3-pip)',
    );
  }
  const pip = await runCommand(python, ['-m', 'pip', '--version']);
  if (pip.code !== 0) {
    throw new ProvisionError(
      'no-pip',
      `${python} has no pip: ${errorLine(pip)}`,
      'install pip (Debian, Ubuntu: apt-get install python3-pip)',
    );
  }
  return python;
}
