/**
 * @file A lock between processes, as a file that names its holder. A holder that was killed does not block the
 * others: on the same machine its process id tells (with the start time, since ids are used again); on another
 * machine that shares the folder, a heartbeat that stopped.
 */
import {
  linkSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import {randomBytes} from 'node:crypto';
import {hostname} from 'node:os';
import {dirname} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';

const POLL_MS = 200;
const HEARTBEAT_MS = 5_000;
/** A holder on another machine counts as gone after this long without a heartbeat. */
const SILENCE_MS = 60_000;
/** Removing a stale lock takes microseconds; whoever holds that right for longer was killed in the middle. */
const TAKEOVER_MS = 10_000;

/** @typedef {{host: string, pid: number, started: string, token: string}} Holder */

/**
 * Runs `body` while no other process runs one under the same lock.
 *
 * @template T
 * @param {string} path The lock file; its folder is made if missing.
 * @param {() => Promise<T>} body
 * @param {{onWait?: (holder: Holder) => void}} [options] `onWait` is called once if the lock is taken.
 * @returns {Promise<T>} What `body` returns.
 */
export async function withLock(path, body, {onWait} = {}) {
  mkdirSync(dirname(path), {recursive: true});
  /** @type {Holder} */
  const self = {
    host: hostname(),
    pid: process.pid,
    started: startTime(process.pid),
    token: randomBytes(8).toString('hex'),
  };
  let waiting = false;
  while (!acquire(path, self)) {
    const holder = readHolder(path);
    if (holder !== undefined && isGone(path, holder)) {
      removeStale(path, holder);
      continue;
    }
    if (holder !== undefined && !waiting) {
      waiting = true;
      onWait?.(holder);
    }
    await sleep(POLL_MS);
  }
  const heartbeat = setInterval(() => touch(path), HEARTBEAT_MS);
  heartbeat.unref();
  try {
    return await body();
  } finally {
    clearInterval(heartbeat);
    if (readHolder(path)?.token === self.token) unlinkSync(path);
  }
}

/**
 * The lock appears with its content or not at all: a hard link to a file that is already written.
 *
 * @param {string} path
 * @param {Holder} self
 */
function acquire(path, self) {
  const ticket = `${path}.${self.pid}-${self.token}`;
  writeFileSync(ticket, JSON.stringify(self));
  try {
    linkSync(ticket, path);
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
    return false;
  } finally {
    unlinkSync(ticket);
  }
}

/**
 * Two processes may see the same dead holder. Only one may remove its lock, and only after looking once more:
 * the other could otherwise remove the lock that the first has taken since.
 *
 * @param {string} path
 * @param {Holder} holder
 */
function removeStale(path, holder) {
  const right = `${path}.takeover`;
  try {
    mkdirSync(right);
  } catch {
    const age = ageOf(right);
    if (age !== undefined && age > TAKEOVER_MS) removeQuietly(() => rmdirSync(right));
    return;
  }
  try {
    if (readHolder(path)?.token === holder.token) removeQuietly(() => unlinkSync(path));
  } finally {
    removeQuietly(() => rmdirSync(right));
  }
}

/**
 * @param {string} path
 * @param {Holder} holder
 */
function isGone(path, holder) {
  if (holder.host !== hostname()) return (ageOf(path) ?? 0) > SILENCE_MS;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ESRCH') return true;
  }
  return startTime(holder.pid) !== holder.started;
}

/**
 * When a process started, in the kernel's units; empty where the system does not tell.
 *
 * @param {number} pid
 */
function startTime(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // proc(5): the command name may hold spaces and brackets; starttime is field 22, the 20th after it.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return '';
  }
}

/**
 * @param {string} path
 * @returns {Holder | undefined}
 */
function readHolder(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/** @param {string} path */
function ageOf(path) {
  try {
    return Date.now() - statSync(path).mtimeMs;
  } catch {
    return undefined;
  }
}

/** @param {string} path */
function touch(path) {
  const now = new Date();
  removeQuietly(() => utimesSync(path, now, now));
}

/** @param {() => void} action What another process may have done already. */
function removeQuietly(action) {
  try {
    action();
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ENOENT') throw error;
  }
}
