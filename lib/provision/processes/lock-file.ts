/** @file The file of a lock between processes: made, kept alive while it is held, looked at, and given back. */
import {
  closeSync,
  fstatSync,
  futimesSync,
  lstatSync,
  openSync,
  readFileSync,
  unlinkSync,
  writeSync,
  type BigIntStats,
} from 'node:fs';
import {parseHolder, thisProcess, type Holder} from './lock-holder.js';

const HEARTBEAT_MS = 500;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** A lock that another process has. */
export interface SeenLock {
  /** Changes with every heartbeat. */
  readonly state: string;
  /** Undefined if the file names nobody. */
  readonly holder: Holder | undefined;
}

/**
 * Makes the lock file, if there is none.
 *
 * @returns Its descriptor.
 */
export function createLock(path: string): number | undefined {
  let descriptor: number;
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

/** What gives each lock of this process back. */
const held = new Set<() => void>();

/**
 * Keeps a lock alive until it is given back, or this process ends in a way that it can notice.
 *
 * @returns What gives it back.
 */
export function holdLock(path: string, descriptor: number): () => void {
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
      if (isOurLock(path, descriptor)) unlinkSync(path);
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

function releaseAll(): void {
  for (const release of held) release();
}

/** Where somebody else listens too, they decide what a signal means, and the body ends by itself or with the process. */
function endBy(name: NodeJS.Signals): void {
  if (process.listenerCount(name) > 1) return;
  releaseAll();
  process.kill(process.pid, name);
}

/** Whether the lock file is the one that we have open: another process that took us for dead has replaced it. */
export function isOurLock(path: string, descriptor: number): boolean {
  try {
    const ours = fstatSync(descriptor, {bigint: true});
    const there = lstatSync(path, {bigint: true});
    return ours.ino === there.ino && ours.dev === there.dev;
  } catch (error) {
    if (isError(error, 'ENOENT')) return false;
    throw error;
  }
}

/** What a lock looks like now; undefined if there is none by now. */
export function readLock(path: string): SeenLock | undefined {
  let file: BigIntStats;
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
  return {state: `${file.ino} ${file.mtimeNs} ${text}`, holder: parseHolder(text)};
}

function isError(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
