/**
 * @file Runs other programs: with a time limit, with their whole process group ended when the limit passes or
 * when this process is told to stop, and with their output kept for error messages.
 */
import {spawn} from 'node:child_process';

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly timeoutMs?: number;
  /** Ends the program and all that it started. */
  readonly signal?: AbortSignal;
}

/** How a program ended, and what it printed. */
export interface CommandResult {
  /** Exit code, null if a signal ended the program. */
  readonly code: number | null;
  /** The signal that ended it, if one did. */
  readonly signal: NodeJS.Signals | null;
  /** Whether the time limit ended it. */
  readonly timedOut: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** Only the end of a program's output is kept: a compiler can print without bound. */
const MAX_OUTPUT_CHARACTERS = 200_000;

/**
 * Runs a program to its end.
 *
 * @param file Path or name of the program.
 * @returns Never rejects for a failing program; a program that cannot be started has code 127 and the reason in
 *   `stderr`.
 */
export function runCommand(
  file: string,
  args: readonly string[],
  {cwd, env = process.env, timeoutMs, signal}: CommandOptions = {},
): Promise<CommandResult> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve({code: null, signal: 'SIGKILL', timedOut: false, stdout: '', stderr: 'interrupted'});
      return;
    }
    const child = spawn(file, args, {cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe']});
    let stdout = '';
    let stderr = '';
    let timedOut = false;
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout = keepEnd(stdout + chunk)));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr = keepEnd(stderr + chunk)));

    const killGroup = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // The group has ended by itself, or the system has no process groups.
        child.kill('SIGKILL');
      }
    };
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true;
            killGroup();
          }, timeoutMs);
    const stop = (name: NodeJS.Signals) => {
      killGroup();
      release();
      process.kill(process.pid, name);
    };
    process.on('SIGINT', stop).on('SIGTERM', stop).on('SIGHUP', stop);
    signal?.addEventListener('abort', killGroup);
    const release = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', killGroup);
      process.off('SIGINT', stop).off('SIGTERM', stop).off('SIGHUP', stop);
    };

    child.on('error', (error) => {
      release();
      resolve({code: 127, signal: null, timedOut, stdout, stderr: error.message});
    });
    child.on('close', (code, endedBy) => {
      release();
      resolve({code, signal: endedBy, timedOut, stdout, stderr});
    });
  });
}

/**
 * The line of a program's output that says most about its failure: the first line that names an error as JavaScript
 * does, else the last line.
 */
export function errorLine(result: CommandResult): string {
  return printed(result).find((line) => /^\w*Error\b/.test(line)) ?? lastLines(result, 1);
}

/** The line of a compiler's output that says most about its failure. */
export function compilerErrorLine(result: CommandResult): string {
  const line = result.stderr.split('\n').find((line) => /\b(error|fatal)\b/i.test(line)) ?? errorLine(result);
  return line.trim();
}

/** The end of what a failed program printed. */
export function lastLines(result: CommandResult, count = 4): string {
  return printed(result).slice(-count).join('\n');
}

/** The lines that a program wrote to its error output; if none, those of its output. */
function printed({stdout, stderr}: CommandResult): string[] {
  return (stderr.trim() === '' ? stdout : stderr).trim().split('\n');
}

function keepEnd(text: string): string {
  return text.length > MAX_OUTPUT_CHARACTERS ? text.slice(-MAX_OUTPUT_CHARACTERS) : text;
}
