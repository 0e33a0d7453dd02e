/** @file What npm would publish, held against how it is imported: packed once, then looked at by publint and attw. */
import {mkdtempSync, readdirSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {inRoot, runHere, runNode} from './repository.mjs';

const PUBLINT = inRoot('node_modules', 'publint', 'src', 'cli.js');
const ATTW = inRoot('node_modules', '@arethetypeswrong', 'cli', 'dist', 'index.js');

/**
 * Checks the package that dist/ gives; dist/ must be there.
 *
 * @returns {Promise<number>} 0 if nothing is wrong with it.
 */
export async function checkPackage() {
  const folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-pack-'));
  try {
    const packed = await runHere('npm', [
      'pack',
      '--ignore-scripts',
      '--silent',
      '--pack-destination',
      folder,
    ]);
    if (packed !== 0) return packed;
    const tarball = join(folder, readdirSync(folder)[0]);
    const published = await runNode([PUBLINT, 'run', tarball, '--strict', '--level', 'warning']);
    // The package is ES modules alone, which CommonJS and the resolution of Node 10 cannot import.
    const typed = await runNode([ATTW, tarball, '--profile', 'esm-only', '--format', 'ascii', '--quiet']);
    return published || typed;
  } finally {
    rmSync(folder, {recursive: true});
  }
}
