/** @file The peak memory of a benchmark's child process. */
import {execFileSync} from 'node:child_process';

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
