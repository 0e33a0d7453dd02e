/** @file Runs a piece of module code in a Node process of its own, with TypeScript sources importable. */
import {spawn, type ChildProcess} from 'node:child_process';
import {createRequire} from 'node:module';
import {pathToFileURL} from 'node:url';

/** What a child process left. */
export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The URL of a file of this repository, for an `import` in a child's code. */
export function urlOf(path: string): string {
  return new URL(`../../${path}`, import.meta.url).href;
}

/** What makes TensorFlow and oneDNN talk; who runs the specs with it wants to read it here, not in what children print. */
const TALKATIVE = [
  'TF_CPP_MIN_LOG_LEVEL',
  'TF_CPP_MAX_VLOG_LEVEL',
  'TF_CPP_VMODULE',
  'ONEDNN_VERBOSE',
  'DNNL_VERBOSE',
];

/**
 * The environment of a child whose output is looked at: this process's, without what makes TensorFlow talk.
 *
 * @param env Added; an undefined value removes a variable.
 */
export function quietly(env: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return {...process.env, ...Object.fromEntries(TALKATIVE.map((name) => [name, undefined])), ...env};
}

/**
 * Starts module code in a process of its own.
 *
 * @param source Code; it may import by URL ({@link urlOf}) and use top-level await.
 * @param env Added to this process's environment; an undefined value removes a variable.
 */
export function startModule(source: string, env: NodeJS.ProcessEnv = {}): ChildProcess {
  return spawn(process.execPath, moduleArgs(source), {
    env: quietly(env),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** The arguments with which Node runs module code as {@link startModule} does. */
export function moduleArgs(source: string): string[] {
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
  return ['--import', tsx, '--input-type=module', '-e', source];
}

/** Collects what a process prints until it ends. */
export function finished(child: ChildProcess): Promise<Finished> {
  return new Promise((resolve, reject) => {
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.on('error', reject);
    child.on('close', (code) => resolve({code, stdout, stderr}));
  });
}

/** Runs module code in a process of its own to its end. */
export function runModule(source: string, env: NodeJS.ProcessEnv = {}): Promise<Finished> {
  return finished(startModule(source, env));
}
