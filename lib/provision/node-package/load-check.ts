/**
 * @file Whether a backend's package loads and computes, found out in a child process, since a shared library
 * that does not fit the machine ends its process. What has been proven is remembered until the files, the
 * Node version or the processor change: then asking costs a few `stat` calls.
 */
import {existsSync, readFileSync} from 'node:fs';
import {cpus} from 'node:os';
import {join} from 'node:path';
import {cacheFolder, readJson, writeJson} from '../cache.js';
import {fingerprint, hashOf} from '../fingerprint.js';
import {runChildProgram} from '../processes/child-program.js';
import {errorLine} from '../processes/command.js';
import {bindingPath, manifestOf, packagedLibraries} from './package-folder.js';

/** The first load of libtensorflow (850 MB) from a cold disk takes tens of seconds. */
const LOAD_TIMEOUT_MS = 120_000;

/** Whether a backend loads. */
export interface LoadCheck {
  readonly loads: boolean;
  /** Why it does not load; empty if it does. */
  readonly reason: string;
  /** TensorFlow's version, for the node packages. */
  readonly tensorflow: string | null;
  /** Whether results were seen in the GPU's memory; tfjs-node-gpu also loads without one. */
  readonly usesGpu: boolean;
}

/** What load-child.ts prints of a backend that loads. */
export type LoadReport = Pick<LoadCheck, 'tensorflow' | 'usesGpu'>;

/** A check that was passed, as it is remembered. */
interface Proof {
  readonly package: string;
  readonly fingerprint: string;
  readonly check: LoadCheck;
}

/**
 * Checks whether a node package (tfjs-node, tfjs-node-gpu) loads.
 *
 * @param options `cache` is where the proof is remembered; `fresh` does without it.
 */
export async function checkNodePackage(
  packageFolder: string,
  {cache = cacheFolder(), fresh = false}: {readonly cache?: string; readonly fresh?: boolean} = {},
): Promise<LoadCheck> {
  const binding = bindingPath(packageFolder);
  if (binding === undefined) {
    return failed(`its native part is missing (no tfjs_binding.node under ${join(packageFolder, 'lib')})`);
  }
  const proofPath = join(cache, 'proofs', `${hashOf(packageFolder)}.json`);
  const present = fingerprintOf(packageFolder, binding);
  const proof = readJson<Proof>(proofPath);
  if (!fresh && proof?.fingerprint === present && proof.check?.loads === true) return proof.check;

  const check = await checkLoad('tensorflow', join(packageFolder, 'dist', 'index.js'));
  // That no GPU is used is asked again each time: it changes with drivers and libraries all over the system.
  if (check.loads && (check.usesGpu || !isGpuPackage(packageFolder))) {
    const proven: Proof = {package: packageFolder, fingerprint: present, check};
    try {
      await writeJson(proofPath, proven);
    } catch {
      // A cache that cannot be written only means that the next process asks again.
    }
  }
  return check;
}

/**
 * Loads a backend in a child process and computes with it.
 *
 * @param kind The name under which TensorFlow.js registers it.
 * @param main The main file of the backend's package.
 */
export async function checkLoad(kind: 'tensorflow' | 'wasm' | 'cpu', main: string): Promise<LoadCheck> {
  const result = await runChildProgram(new URL('load-child.js', import.meta.url), [kind, main], {
    env: {
      ...process.env,
      TF_CPP_MIN_LOG_LEVEL: '3',
      // Without it TensorFlow takes all of the GPU's memory, and what one tensor takes cannot be seen.
      TF_FORCE_GPU_ALLOW_GROWTH: 'true',
    },
    timeoutMs: LOAD_TIMEOUT_MS,
  });
  if (result.code === 0) {
    const report = JSON.parse(result.stdout.trim().split('\n').at(-1)!) as LoadReport;
    return {loads: true, reason: '', ...report};
  }
  if (result.timedOut) return failed(`loading did not end within ${LOAD_TIMEOUT_MS / 1000} s`);
  if (result.signal !== null) return failed(`loading ended the process with ${result.signal}`);
  return failed(errorLine(result));
}

/** Changes whenever the outcome of loading may. */
function fingerprintOf(packageFolder: string, binding: string): string {
  const texts = [cpus()[0]?.model ?? ''];
  if (isGpuPackage(packageFolder)) {
    const driver = '/proc/driver/nvidia/version';
    texts.push(existsSync(driver) ? readFileSync(driver, 'utf8') : 'no driver');
    texts.push(process.env.LD_LIBRARY_PATH ?? '', process.env.CUDA_VISIBLE_DEVICES ?? '');
  }
  return fingerprint(texts, [binding, ...packagedLibraries(packageFolder)]);
}

function isGpuPackage(packageFolder: string): boolean {
  return manifestOf(packageFolder).name.endsWith('-gpu');
}

function failed(reason: string): LoadCheck {
  return {loads: false, reason, tensorflow: null, usesGpu: false};
}
