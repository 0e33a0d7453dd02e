/**
 * @file A lock between processes, as a file that its holder keeps open and touches every half second. Where a process
 * can be seen (the same machine, the same process ids), that it has ended frees its lock at once, and that it lives keeps
 * it. Where it cannot (another machine or container that shares the folder, a file that names nobody), a lock that a
 * waiting process has seen untouched for a minute is free, whatever the clocks of the two say.
 */
import {closeSync, mkdirSync, renameSync, unlinkSync} from 'node:fs';
import {randomBytes} from 'node:crypto';
import {dirname} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {createLock, holdLock, isOurLock, readLock} from './lock-file.js';
import {lifeOf, type Holder, type Life} from './lock-holder.js';

const POLL_MS = 200;
/** A holder that cannot be seen counts as gone after this long without a heartbeat. */
const SILENCE_MS = 60_000;
/**
 * Several processes may replace the same dead lock, each the one before. Between looking and replacing lie microseconds;
 * so whose file is still there after this long has the lock.
 */
const SETTLE_MS = 1_000;
/** While it waits, a process says so this often in each silence: every 15 s. */
const LINES_A_SILENCE = 4;

export interface LockOptions {
  /** What holds the lock, for `log`. */
  readonly what?: string;
  /** Is told that this process waits, and for whom: at once, then every 15 s. */
  readonly log?: (line: string) => void;
  /** Ends the wait, not the body. */
  readonly signal?: AbortSignal;
  /** After this long without a heartbeat a holder that cannot be seen counts as gone; more than some heartbeats. */
  readonly silenceMs?: number;
}

/**
 * Runs `body` while no other process runs one under the same lock.
 *
 * @param path The lock file; its folder is made if missing.
 * @returns What `body` returns.
 * @throws The signal's reason, if it aborts the wait.
 */
export async function withLock<T>(
  path: string,
  body: () => Promise<T>,
  {what = 'another process', log = () => {}, signal, silenceMs = SILENCE_MS}: LockOptions = {},
): Promise<T> {
  mkdirSync(dirname(path), {recursive: true});
  const release = await acquire(path, {what, log, signal, silenceMs});
  try {
    return await body();
  } finally {
    release();
  }
}

type AcquireOptions = Required<Omit<LockOptions, 'signal'>> & Pick<LockOptions, 'signal'>;

/** Waits for the lock; the result gives it back. */
async function acquire(path: string, {what, log, signal, silenceMs}: AcquireOptions): Promise<() => void> {
  const waitingSince = performance.now();
  let nextLine = waitingSince;
  let state = '';
  /** How often the lock was seen in that state. Not a time: this process and its machine may have slept. */
  let looks = 0;
  for (;;) {
    signal?.throwIfAborted();
    const created = createLock(path);
    if (created !== undefined) return holdLock(path, created);
    const seen = readLock(path);
    const now = performance.now();
    if (seen !== undefined) {
      looks = seen.state === state ? looks + 1 : 0;
      ({state} = seen);
      const life = lifeOf(seen.holder);
      if (life === 'ended' || (life === 'unknown' && looks * POLL_MS >= silenceMs)) {
        const release = await replace(path, signal);
        if (release !== undefined) return release;
      } else if (now >= nextLine) {
        nextLine = now + silenceMs / LINES_A_SILENCE;
        log(waitingLine(path, what, seen.holder, life, now - waitingSince, silenceMs));
      }
    }
    await wait(POLL_MS, signal);
  }
}

/**
 * Puts a lock of our own in the place of a dead one, in one step.
 *
 * @returns What gives it back; undefined if another process was later, and has it.
 */
async function replace(path: string, signal: AbortSignal | undefined): Promise<(() => void) | undefined> {
  const beside = `${path}.${process.pid}-${randomBytes(4).toString('hex')}`;
  const descriptor = createLock(beside)!; // nobody else has this name
  try {
    renameSync(beside, path);
  } catch (error) {
    closeSync(descriptor);
    unlinkSync(beside);
    throw error;
  }
  const release = holdLock(path, descriptor);
  try {
    await wait(SETTLE_MS, signal);
  } catch (error) {
    release();
    throw error;
  }
  if (isOurLock(path, descriptor)) return release;
  release();
  return undefined;
}

function waitingLine(
  path: string,
  what: string,
  holder: Holder | undefined,
  life: Life,
  waitedMs: number,
  silenceMs: number,
): string {
  const place = life === 'lives' ? '' : ` on ${holder?.host}`;
  const who = holder === undefined ? `${path} names nobody` : `process ${holder.pid}${place}`;
  if (waitedMs < silenceMs / LINES_A_SILENCE) return `waiting for ${what} (${who})`;
  const end =
    life === 'lives'
      ? 'if it hangs, end that process'
      : `without a sign of life it is passed over after ${Math.ceil(silenceMs / 1000)} s`;
  return `still waiting for ${what} (${who}) after ${Math.round(waitedMs / 1000)} s; ${end}`;
}

/** @throws The signal's reason. */
async function wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, {signal}).catch(() => {});
  signal?.throwIfAborted();
}
