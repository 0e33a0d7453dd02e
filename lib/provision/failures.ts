/** @file What could not be set up lately, so that not every start tries it again and waits for the same time-out. */
import {join} from 'node:path';
import {readJson, writeJson} from './cache.js';
import {hashOf} from './fingerprint.js';

/** A failed set-up is not tried again by itself for this long, unless PATH changes. */
const RETRY_MS = 60 * 60_000;

/** Why something could not be set up or cannot be used, and what would help; empty if nothing is known to. */
export interface Failure {
  readonly reason: string;
  readonly help: string;
}

/** A failure as it is remembered. */
interface RememberedFailure extends Failure {
  /** In ms since 1970. */
  readonly at: number;
  readonly path: string | undefined;
}

/** What the set-up of `subject` ended with less than an hour ago under the same PATH. */
export function recentFailure(cache: string, subject: string): Failure | undefined {
  const {at = 0, path, reason, help} = readJson<RememberedFailure>(failurePath(cache, subject)) ?? {};
  if (reason === undefined || path !== process.env.PATH || Date.now() - at >= RETRY_MS) return undefined;
  return {reason, help: help ?? ''};
}

/** Remembers what the set-up of `subject` ended with. */
export async function rememberFailure(
  cache: string,
  subject: string,
  {reason, help}: Failure,
): Promise<void> {
  const record: RememberedFailure = {at: Date.now(), path: process.env.PATH, reason, help};
  try {
    await writeJson(failurePath(cache, subject), record);
  } catch {
    // A cache that cannot be written is the reason already, or only means that it is tried again.
  }
}

function failurePath(cache: string, subject: string): string {
  return join(cache, 'failures', `${hashOf(subject)}.json`);
}
