/** @file Short names for long texts, and for the state of things on which an outcome depends. */
import {createHash} from 'node:crypto';
import {existsSync, realpathSync, statSync} from 'node:fs';

/** How many hex digits of a SHA-256 name something in the cache: enough that two never meet. */
const DIGITS = 24;

/** Names what a text says, or some texts and files one after the other. */
export function hashOf(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex').slice(0, DIGITS);
}

/**
 * Changes whenever one of these does, and with the Node version.
 *
 * @param texts What else the outcome depends on: the processor, variables of the environment.
 * @param files Of each its place, size and time count; that one is missing counts too.
 */
export function fingerprint(texts: readonly string[], files: readonly string[]): string {
  const states = files.map((file) => {
    if (!existsSync(file)) return `${file} missing`;
    const {size, mtimeMs} = statSync(file);
    return `${realpathSync(file)} ${size} ${mtimeMs}`;
  });
  return hashOf([process.version, process.arch, ...texts, ...states].join('\n'));
}
