/**
 * @file Where this package lies: its C++ sources are in lib/ of its top folder, also when the code that builds them runs
 * from dist/lib/.
 */
import {createRequire} from 'node:module';
import {dirname, join} from 'node:path';

/**
 * A path inside this package.
 *
 * @param parts From its top folder, where its package.json is.
 */
export function inPackage(...parts: readonly string[]): string {
  return join(dirname(createRequire(import.meta.url).resolve('tfjs-sparsify/package.json')), ...parts);
}
