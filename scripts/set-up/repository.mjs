/** @file Where the checkout is, how its programs are started, and how set-up speaks. */
import {spawn} from 'node:child_process';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';

/** The top folder of the checkout. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** @param {string} line What set-up is doing: on stderr, so that a task's own output stays clean. */
export function say(line) {
  console.error(`tfjs-sparsify: ${line}`);
}

/** @param {readonly string[]} parts Path inside the checkout. */
export function inRoot(...parts) {
  return join(ROOT, ...parts);
}

/**
 * Runs a program with this terminal, in the checkout unless another folder is named.
 *
 * @param {string} file
 * @param {readonly string[]} args
 * @param {{env?: NodeJS.ProcessEnv, cwd?: string}} [options]
 * @returns {Promise<number>} Its exit code; 1 if a signal ended it.
 */
export function runHere(file, args, {env = process.env, cwd = ROOT} = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {cwd, env, stdio: 'inherit', shell: file === 'npm' && onWindows()});
    // Ctrl-C reaches the child too, which ends by itself; leaving first would orphan it.
    const ignore = () => {};
    process.on('SIGINT', ignore);
    child.on('error', reject);
    child.on('close', (code) => {
      process.off('SIGINT', ignore);
      resolve(code ?? 1);
    });
  });
}

/**
 * Runs a JavaScript program with this Node.
 *
 * @param {readonly string[]} args
 * @param {{env?: NodeJS.ProcessEnv}} [options]
 */
export function runNode(args, options) {
  return runHere(process.execPath, args, options);
}

/** npm is a batch file there, which only a shell starts. */
function onWindows() {
  return process.platform === 'win32';
}
