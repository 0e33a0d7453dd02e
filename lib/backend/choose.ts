/** @file Which backend to use: the one asked for, else the first in order that loads; and what would be faster. */
import {existsSync} from 'node:fs';
import {BackendError} from '../errors.js';
import type {BackendCheck} from './check.js';
import {BACKENDS, PACKAGES, type BackendName} from './names.js';

/** A faster backend than the one in use, and how to get it. */
export interface Faster {
  readonly what: string;
  /** A command for a shell, in the project's folder. */
  readonly command: string;
}

/** What makes tfjs-node faster. */
export const NATIVE_KERNELS: Faster = {
  what: 'native sparse kernels for tfjs-node',
  command: 'npx tfjs-sparsify provision',
};

/** What makes tfjs-node-gpu faster. */
export const CUDA_KERNELS: Faster = {
  what: 'CUDA sparse kernels for tfjs-node-gpu',
  command: 'npx tfjs-sparsify provision --gpu',
};

/** A backend and the reasons for it. */
export interface Choice {
  readonly name: BackendName;
  readonly why: string;
  readonly faster?: Faster;
  /** That tfjs-node-gpu, which is installed, does not compute on a GPU, and why; worth a line wherever work starts. */
  readonly notice?: string;
}

const VERSION = '4.22.0';

/**
 * Chooses a backend.
 *
 * @param requested What the user asks for, if anything.
 * @param check Tells about one backend; asked only for those that matter.
 * @throws BackendError `backend-does-not-load` if the requested one does not; `no-backend` if none does.
 */
export async function chooseBackend(
  requested: BackendName | undefined,
  check: (name: BackendName) => Promise<BackendCheck>,
): Promise<Choice> {
  if (requested !== undefined) return chooseRequested(requested, check);
  const passed: BackendCheck[] = [];
  for (const name of BACKENDS) {
    const candidate = await check(name);
    if (candidate.loads && candidate.reason === '') {
      const others = passed.map(({name: other, reason}) => `${other}: ${reason}`).join('; ');
      const why = `the first of ${BACKENDS.join(', ')} that loads here${others && ` (${others})`}`;
      return {name, why, faster: fasterThan(name, passed), notice: noticeOf(name, passed)};
    }
    passed.push(candidate);
  }
  const reasons = passed.map(({name, reason}) => `${name}: ${reason}`).join('; ');
  throw new BackendError(
    'no-backend',
    `no backend loads here (${reasons}); install TensorFlow.js: npm install @tensorflow/tfjs@${VERSION}`,
    {checks: passed},
  );
}

async function chooseRequested(
  requested: BackendName,
  check: (name: BackendName) => Promise<BackendCheck>,
): Promise<Choice> {
  const candidate = await check(requested);
  if (candidate.loads) {
    const remark = candidate.reason === '' ? '' : `, though ${candidate.reason}`;
    return {name: requested, why: `it was asked for${remark}`, notice: noticeOf(requested, [candidate])};
  }
  const loading: BackendName[] = [];
  for (const name of BACKENDS) {
    if (name !== requested && (await check(name)).loads) loading.push(name);
  }
  const command = commandFor(requested, candidate);
  throw new BackendError(
    'backend-does-not-load',
    `backend ${requested} was asked for, but does not load: ${candidate.reason}. ` +
      `Here load: ${loading.join(', ') || 'none'}. To get ${requested}: ${command}`,
    {requested, reason: candidate.reason, loads: loading, command},
  );
}

/**
 * What would be faster than a backend.
 *
 * @param name The backend in use.
 * @param passed The faster ones, which are of no use as they are.
 */
function fasterThan(name: BackendName, passed: readonly BackendCheck[]): Faster | undefined {
  const gpu = passed.find((check) => check.name === 'node-gpu');
  if (gpu !== undefined && hasNvidiaGpu()) {
    return {what: 'tfjs-node-gpu, on the NVIDIA GPU of this machine', command: commandFor('node-gpu', gpu)};
  }
  const native = passed.find((check) => check.name === 'node');
  if (native !== undefined && name !== 'node') {
    return {what: 'tfjs-node, with native kernels', command: commandFor('node', native)};
  }
  return undefined;
}

/** What to say when `name` is used, of the backends that were looked at before it or are it. */
function noticeOf(name: BackendName, looked: readonly BackendCheck[]): string | undefined {
  const gpu = looked.find((check) => check.name === 'node-gpu' && check.version !== null);
  if (gpu === undefined || gpu.reason === '') return undefined;
  const used = name === 'node-gpu' ? '' : `; backend ${name} is used instead`;
  return `tfjs-node-gpu is not on a GPU: ${gpu.reason}${used}. npx tfjs-sparsify doctor says what helps`;
}

/** The command that should make a backend load. */
function commandFor(name: BackendName, {version}: BackendCheck): string {
  const install = `npm install --ignore-scripts ${PACKAGES[name].package}@${VERSION}`;
  switch (name) {
    case 'node':
      return version === null ? `${install} && npx tfjs-sparsify provision` : 'npx tfjs-sparsify provision';
    case 'node-gpu': {
      const provision = 'npx tfjs-sparsify provision --gpu';
      return version === null ? `${install} && ${provision}` : provision;
    }
    default:
      return install;
  }
}

function hasNvidiaGpu(): boolean {
  return existsSync('/proc/driver/nvidia/version') || existsSync('/dev/nvidia0');
}
