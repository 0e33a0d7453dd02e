/**
 * @file A lock between processes, as a file that its holder keeps open and touches every half second. Where a process
 * can be seen (the same machine, the same process ids), that it has ended frees its lock at once, and that it lives keeps
 * it. Where it cannot (another machine or container that shares the folder, a file that names nobody), a lock that a
 * waiting process has seen untouched for a minute is free, whatever the clocks of the two say.
 */
import {
  closeSync,
  fstatSync,
  futimesSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import {randomBytes} from 'node:crypto';
import {hostname} from 'node:os';
import {dirname} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';

const POLL_MS = 200;
const HEARTBEAT_MS = 500;
/** A holder that cannot be seen counts as gone after this long without a heartbeat. */
const SILENCE_MS = 60_000;
/**
 * Several processes may replace the same dead lock, each the one before. Between looking and replacing lie microseconds;
 * so whose file is still there after this long has the lock.
 */
const SETTLE_MS = 1_000;
/** While it waits, a process says so this often in each silence: every 15 s. */
const LINES_A_SILENCE = 4;
const SIGNALS = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']);

/**
 * @typedef {object} Holder What a lock file says.
 * @property {string} host For the reader of the file and of messages.
 * @property {number} pid
 * @property {string} space Where `pid` means this process; empty if that is not known.
 * @property {string} started When it started, since process ids are used again.
 */

/**
 * @typedef {object} LockOptions
 * @property {string} [what] What holds the lock, for `log`.
 * @property {(line: string) => void} [log] Is told that this process waits, and for whom: at once, then every 15 s.
 * @property {AbortSignal} [signal] Ends the wait, not the body.
 * @property {number} [silenceMs] After this long without a heartbeat a holder that cannot be seen counts as gone; more than
 *     some heartbeats.
 */

/**
 * Runs `body` while no other process runs one under the same lock.
 *
 * @template T
 * @param {string} path The lock file; its folder is made if missing.
 * @param {() => Promise<T>} body
 * @param {LockOptions} [options]
 * @returns {Promise<T>} What `body` returns.
 * @throws The signal's reason, if it aborts the wait.
 */
export async function withLock(
  path,
  body,
  {what = 'another process', log = () => {}, signal, silenceMs = SILENCE_MS} = {},
) {
  mkdirSync(dirname(path), {recursive: true});
  const release = await acquire(path, {what, log, signal, silenceMs});
  try {
    return await body();
  } finally {
    release();
  }
}

/**
 * @param {string} path
 * @param {Required<Pick<LockOptions, 'what' | 'log' | 'silenceMs'>> & Pick<LockOptions, 'signal'>} options
 * @returns {Promise<() => void>} What gives it back.
 */
async function acquire(path, {what, log, signal, silenceMs}) {
  const waitingSince = performance.now();
  let nextLine = waitingSince;
  let state = '';
  /** How often the lock was seen in that state. Not a time: this process and its machine may have slept. */
  let looks = 0;
  for (;;) {
    signal?.throwIfAborted();
    const created = create(path);
    if (created !== undefined) return hold(path, created);
    const seen = look(path);
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
 * Makes the lock file, if there is none.
 *
 * @param {string} path
 * @returns {number | undefined} Its descriptor.
 */
function create(path) {
  let descriptor;
  try {
    descriptor = openSync(path, 'wx');
  } catch (error) {
    if (isError(error, 'EEXIST')) return undefined;
    throw error;
  }
  try {
    writeSync(descriptor, JSON.stringify(thisProcess()));
    return descriptor;
  } catch (error) {
    closeSync(descriptor);
    unlinkSync(path);
    throw error;
  }
}

/**
 * Puts a lock of our own in the place of a dead one, in one step.
 *
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<(() => void) | undefined>} What gives it back; undefined if another process was later, and has it.
 */
async function replace(path, signal) {
  const beside = `${path}.${process.pid}-${randomBytes(4).toString('hex')}`;
  const descriptor = /** @type {number} */ (create(beside));
  try {
    renameSync(beside, path);
  } catch (error) {
    closeSync(descriptor);
    unlinkSync(beside);
    throw error;
  }
  const release = hold(path, descriptor);
  try {
    await wait(SETTLE_MS, signal);
  } catch (error) {
    release();
    throw error;
  }
  if (isOurs(path, descriptor)) return release;
  release();
  return undefined;
}

/** What gives each lock of this process back. @type {Set<() => void>} */
const held = new Set();

/**
 * Keeps a lock alive until it is given back, or this process ends in a way that it can notice.
 *
 * @param {string} path
 * @param {number} descriptor
 * @returns {() => void} What gives it back.
 */
function hold(path, descriptor) {
  const heartbeat = setInterval(() => {
    const now = new Date();
    try {
      futimesSync(descriptor, now, now);
    } catch {
      // Then others may take the lock for dead, which is less than to end the work under it.
    }
  }, HEARTBEAT_MS);
  heartbeat.unref();
  const release = () => {
    if (!held.delete(release)) return;
    if (held.size === 0) {
      process.off('exit', releaseAll);
      for (const name of SIGNALS) process.off(name, endBy);
    }
    clearInterval(heartbeat);
    try {
      if (isOurs(path, descriptor)) unlinkSync(path);
    } finally {
      closeSync(descriptor);
    }
  };
  if (held.size === 0) {
    process.on('exit', releaseAll);
    // First, while those are still there that listen once.
    for (const name of SIGNALS) process.prependListener(name, endBy);
  }
  held.add(release);
  return release;
}

function releaseAll() {
  for (const release of held) release();
}

/**
 * Where somebody else listens too, they decide what a signal means, and the body ends by itself or with the process.
 *
 * @param {NodeJS.Signals} name
 */
function endBy(name) {
  if (process.listenerCount(name) > 1) return;
  releaseAll();
  process.kill(process.pid, name);
}

/**
 * Whether the lock file is the one that we have open: another process that took us for dead has replaced it.
 *
 * @param {string} path
 * @param {number} descriptor
 */
function isOurs(path, descriptor) {
  try {
    const ours = fstatSync(descriptor, {bigint: true});
    const there = lstatSync(path, {bigint: true});
    return ours.ino === there.ino && ours.dev === there.dev;
  } catch (error) {
    if (isError(error, 'ENOENT')) return false;
    throw error;
  }
}

/**
 * @param {string} path
 * @returns {{state: string, holder: Holder | undefined} | undefined} `state` changes with every heartbeat; undefined if
 *     there is no lock by now.
 */
function look(path) {
  let file;
  try {
    file = lstatSync(path, {bigint: true});
  } catch (error) {
    if (isError(error, 'ENOENT')) return undefined;
    throw error;
  }
  let text = '';
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    // It names nobody.
  }
  return {state: `${file.ino} ${file.mtimeNs} ${text}`, holder: holderIn(text)};
}

/**
 * @param {string} text
 * @returns {Holder | undefined} Undefined if it is empty, torn or something else.
 */
function holderIn(text) {
  try {
    const {host, pid, space, started} = JSON.parse(text);
    return Number.isInteger(pid) && pid > 0 && [host, started].every((part) => typeof part === 'string')
      ? {host, pid, space: typeof space === 'string' ? space : '', started}
      : undefined;
  } catch {
    return undefined;
  }
}

/**
 * @param {Holder | undefined} holder
 * @returns {'lives' | 'ended' | 'unknown'}
 */
function lifeOf(holder) {
  if (holder === undefined || holder.space === '' || holder.space !== processSpace()) return 'unknown';
  const started = startOf(holder.pid);
  if (started !== undefined) return started === holder.started ? 'lives' : 'ended';
  try {
    process.kill(holder.pid, 0);
    return 'unknown';
  } catch (error) {
    return isError(error, 'ESRCH') ? 'ended' : 'unknown';
  }
}

/**
 * When a process started, in the kernel's units.
 *
 * @param {number} pid
 * @returns {string | undefined} Empty if it has ended and its parent has not noticed; undefined if there is none, or the
 *     system does not tell.
 */
function startOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // proc(5): the command name may hold spaces and brackets; the state is field 3, behind it, and starttime field 22.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? '' : fields[19];
  } catch {
    return undefined;
  }
}

/** @returns {Holder} */
function thisProcess() {
  const {pid} = process;
  return {host: hostname(), pid, space: processSpace(), started: startOf(pid) ?? ''};
}

/** Containers may share a host name and count processes from 1 each; what tells them apart is Linux's name of the count. */
function processSpace() {
  try {
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return '';
  }
}

/**
 * @param {string} path
 * @param {string} what
 * @param {Holder | undefined} holder
 * @param {'lives' | 'ended' | 'unknown'} life
 * @param {number} waitedMs
 * @param {number} silenceMs
 */
function waitingLine(path, what, holder, life, waitedMs, silenceMs) {
  const place = life === 'lives' ? '' : ` on ${holder?.host}`;
  const who = holder === undefined ? `${path} names nobody` : `process ${holder.pid}${place}`;
  if (waitedMs < silenceMs / LINES_A_SILENCE) return `waiting for ${what} (${who})`;
  const end =
    life === 'lives'
      ? 'if it hangs, end that process'
      : `without a sign of life it is passed over after ${Math.ceil(silenceMs / 1000)} s`;
  return `still waiting for ${what} (${who}) after ${Math.round(waitedMs / 1000)} s; ${end}`;
}

/**
 * @param {number} ms
 * @param {AbortSignal} [signal]
 * @throws The signal's reason.
 */
async function wait(ms, signal) {
  await sleep(ms, undefined, {signal}).catch(() => {});
  signal?.throwIfAborted();
}

/**
 * @param {unknown} error
 * @param {string} code
 */
function isError(error, code) {
  return /** @type {NodeJS.ErrnoException} */ (error).code === code;
}
