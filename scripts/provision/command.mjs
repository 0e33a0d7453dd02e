/**
 * @file Runs other programs: with a time limit, with their whole process group ended when the limit passes or
 * when this process is told to stop, and with their output kept for error messages.
 */
import {spawn} from 'node:child_process';
import {accessSync, constants, statSync} from 'node:fs';
import {delimiter, join} from 'node:path';

/**
 * @typedef {object} CommandResult
 * @property {number | null} code Exit code, null if a signal ended the program.
 * @property {NodeJS.Signals | null} signal The signal that ended it, if one did.
 * @property {boolean} timedOut Whether the time limit ended it.
 * @property {string} stdout
 * @property {string} stderr
 */

/** Only the end of a program's output is kept: a compiler can print without bound. */
const MAX_OUTPUT_CHARACTERS = 200_000;

/**
 * Runs a program to its end.
 *
 * @param {string} file Path or name of the program.
 * @param {readonly string[]} args
 * @param {{cwd?: string, env?: NodeJS.ProcessEnv, timeoutMs?: number, signal?: AbortSignal}} [options] `signal` ends the
 *     program and all that it started.
 * @returns {Promise<CommandResult>} Never rejects for a failing program; a program that cannot be started has
 *     code 127 and the reason in `stderr`.
 */
export function runCommand(file, args, {cwd, env = process.env, timeoutMs, signal} = {}) {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve({code: null, signal: 'SIGKILL', timedOut: false, stdout: '', stderr: 'interrupted'});
      return;
    }
    const child = spawn(file, args, {cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe']});
    let stdout = '';
    let stderr = '';
    let timedOut = false;
    child.stdout.setEncoding('utf8').on('data', (chunk) => (stdout = keepEnd(stdout + chunk)));
    child.stderr.setEncoding('utf8').on('data', (chunk) => (stderr = keepEnd(stderr + chunk)));

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
    const stop = (/** @type {NodeJS.Signals} */ signal) => {
      killGroup();
      release();
      process.kill(process.pid, signal);
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
 * Looks a program up on PATH.
 *
 * @param {readonly string[]} names Tried in this order.
 * @returns {string | undefined} The first that is there, as a full path.
 */
export function findProgram(names) {
  for (const name of names) {
    for (const folder of (process.env.PATH ?? '').split(delimiter)) {
      const path = join(folder, name);
      try {
        accessSync(path, constants.X_OK);
        if (folder !== '' && statSync(path).isFile()) return path;
      } catch {
        // Not in this folder.
      }
    }
  }
  return undefined;
}

/**
 * The C++ compiler: `CXX`, or what is on PATH.
 *
 * @returns {string[] | undefined} The program with its first arguments, as `CXX` may have some.
 */
export function cxxCompiler() {
  const wanted = process.env.CXX?.trim();
  if (wanted) return wanted.split(/\s+/);
  const found = findProgram(['g++', 'clang++', 'c++']);
  return found === undefined ? undefined : [found];
}

/**
 * The line of a compiler's output that says most about its failure.
 *
 * @param {CommandResult} result
 */
export function compilerErrorLine(result) {
  const line = result.stderr.split('\n').find((line) => /\berror\b/i.test(line)) ?? errorLine(result);
  return line.trim();
}

/**
 * The line of a program's output that says most about its failure.
 *
 * @param {CommandResult} result
 * @returns {string} The first line that names an error as JavaScript does, else the last line.
 */
export function errorLine(result) {
  const text = result.stderr.trim() === '' ? result.stdout : result.stderr;
  return text.split('\n').find((line) => /^\w*Error\b/.test(line)) ?? lastLines(result, 1);
}

/**
 * The end of what a failed program printed.
 *
 * @param {CommandResult} result
 * @param {number} [count] How many lines.
 */
export function lastLines(result, count = 4) {
  const text = result.stderr.trim() === '' ? result.stdout : result.stderr;
  return text.trim().split('\n').slice(-count).join('\n');
}

/** @param {string} text */
function keepEnd(text) {
  return text.length > MAX_OUTPUT_CHARACTERS ? text.slice(-MAX_OUTPUT_CHARACTERS) : text;
}
