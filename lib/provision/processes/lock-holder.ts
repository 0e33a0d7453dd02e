/** @file Who holds a lock, as its file names them, and whether that process still lives. */
import {readFileSync, readlinkSync} from 'node:fs';
import {hostname} from 'node:os';

/** What a lock file says. */
export interface Holder {
  /** For the reader of the file and of messages. */
  readonly host: string;
  readonly pid: number;
  /** Where `pid` means this process; empty if that is not known. */
  readonly space: string;
  /** When it started, since process ids are used again. */
  readonly started: string;
}

/** Whether a holder lives; unknown where it cannot be seen. */
export type Life = 'lives' | 'ended' | 'unknown';

/** This process, for a lock file of its own. */
export function thisProcess(): Holder {
  const {pid} = process;
  return {host: hostname(), pid, space: processSpace(), started: startOf(pid) ?? ''};
}

/** Whom a lock file names; undefined if it is empty, torn or something else. */
export function parseHolder(text: string): Holder | undefined {
  try {
    const {host, pid, space, started} = JSON.parse(text) as Readonly<Record<keyof Holder, unknown>>;
    if (typeof pid !== 'number' || !Number.isInteger(pid) || pid <= 0) return undefined;
    if (typeof host !== 'string' || typeof started !== 'string') return undefined;
    return {host, pid, space: typeof space === 'string' ? space : '', started};
  } catch {
    return undefined;
  }
}

/** Whether the process that a lock file names lives. */
export function lifeOf(holder: Holder | undefined): Life {
  if (holder === undefined || holder.space === '' || holder.space !== processSpace()) return 'unknown';
  const started = startOf(holder.pid);
  if (started !== undefined) return started === holder.started ? 'lives' : 'ended';
  try {
    process.kill(holder.pid, 0);
    return 'unknown';
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ESRCH' ? 'ended' : 'unknown';
  }
}

/**
 * When a process started, in the kernel's units.
 *
 * @returns Empty if it has ended and its parent has not noticed; undefined if there is none, or the system does not tell.
 */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // proc(5): the command name may hold spaces and brackets; the state is field 3, behind it, and starttime field 22.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? '' : fields[19];
  } catch {
    return undefined;
  }
}

/** Containers may share a host name and count processes from 1 each; what tells them apart is Linux's name of the count. */
function processSpace(): string {
  try {
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return '';
  }
}
