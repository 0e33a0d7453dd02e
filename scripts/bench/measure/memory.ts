/** @file What memory a benchmark's process has in RAM, and had at its peak. */
import {execFileSync} from 'node:child_process';
import {readFileSync, writeFileSync} from 'node:fs';

/**
 * Runs a script of ours anew with `--memory-child ARGUMENT`; it must end with `printPeakMemory`.
 *
 * @returns The child's peak memory in MiB.
 */
export function peakMemoryOf(script: string, argument: string): number {
  const args = [...process.execArgv, script, '--memory-child', argument];
  const output = execFileSync(process.execPath, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return Number(output.trim().split('\n').at(-1));
}

/** Prints this process's peak memory in MiB, as its last line. */
export function printPeakMemory(): void {
  console.log(String(process.resourceUsage().maxRSS / 1024));
}

/** Lets `peakBytes` begin anew, where the system can. */
export function resetPeak(): void {
  if (process.platform === 'linux') writeFileSync('/proc/self/clear_refs', '5');
}

/** The most memory that this process had in RAM since `resetPeak`, or in all where that does nothing. */
export function peakBytes(): number {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS * 1024;
  return Number(/VmHWM:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024;
}
