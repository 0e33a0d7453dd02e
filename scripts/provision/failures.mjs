/** @file What could not be set up lately, so that not every start tries it again and waits for the same time-out. */
import {createHash} from 'node:crypto';
import {join} from 'node:path';
import {readJson, writeJson} from './cache.mjs';

/** A failed set-up is not tried again by itself for this long, unless PATH changes. */
const RETRY_MS = 60 * 60_000;

/**
 * What the set-up of `subject` ended with less than an hour ago under the same PATH.
 *
 * @param {string} cache
 * @param {string} subject
 * @returns {{reason: string, help: string} | undefined}
 */
export function recentFailure(cache, subject) {
  const failure = readJson(failurePath(cache, subject));
  return failure?.path === process.env.PATH && Date.now() - failure.at < RETRY_MS ? failure : undefined;
}

/**
 * @param {string} cache
 * @param {string} subject
 * @param {string} reason
 * @param {string} help
 */
export function rememberFailure(cache, subject, reason, help) {
  try {
    writeJson(failurePath(cache, subject), {at: Date.now(), path: process.env.PATH, reason, help});
  } catch {
    // A cache that cannot be written is the reason already, or only means that it is tried again.
  }
}

/**
 * @param {string} cache
 * @param {string} subject
 */
function failurePath(cache, subject) {
  const name = createHash('sha256').update(subject).digest('hex').slice(0, 24);
  return join(cache, 'failures', `${name}.json`);
}
