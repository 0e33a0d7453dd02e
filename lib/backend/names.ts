/** @file The backends that this package runs on in Node, fastest first, and the npm packages that bring them. */
import {BackendError, nearest} from '../errors.js';

/** Backends in the order in which they are tried. */
export const BACKENDS = ['node-gpu', 'node', 'wasm', 'cpu'] as const;

export type BackendName = (typeof BACKENDS)[number];

interface BackendPackage {
  /** Package on npm. */
  readonly package: string;
  /** The name under which it registers in TensorFlow.js. */
  readonly registered: 'tensorflow' | 'wasm' | 'cpu';
}

/** What brings each backend. The cpu backend comes with TensorFlow.js itself. */
export const PACKAGES: Readonly<Record<BackendName, BackendPackage>> = {
  'node-gpu': {package: '@tensorflow/tfjs-node-gpu', registered: 'tensorflow'},
  node: {package: '@tensorflow/tfjs-node', registered: 'tensorflow'},
  wasm: {package: '@tensorflow/tfjs-backend-wasm', registered: 'wasm'},
  cpu: {package: '@tensorflow/tfjs', registered: 'cpu'},
};

/**
 * The name of a backend, as given by a user.
 *
 * @param name What was given.
 * @param source Where it was given, for the error: `SPARSIFY_BACKEND`.
 * @throws BackendError `unknown-backend` if it is none.
 */
export function parseBackendName(name: string, source: string): BackendName {
  const known = BACKENDS.find((backend) => backend === name);
  if (known !== undefined) return known;
  const [near] = nearest(name, BACKENDS);
  const hint = near === undefined ? 'leave it out to take the fastest that loads' : `did you mean ${near}?`;
  throw new BackendError(
    'unknown-backend',
    `${source} is "${name}"; it must be one of ${BACKENDS.join(', ')}: ${hint}`,
    {got: name, allowed: BACKENDS},
  );
}

/**
 * The backend that the environment asks for with `SPARSIFY_BACKEND`.
 *
 * @returns Undefined if it is unset or empty.
 * @throws BackendError `unknown-backend` if it names none.
 */
export function requestedBackend(): BackendName | undefined {
  const name = process.env.SPARSIFY_BACKEND;
  return name === undefined || name === '' ? undefined : parseBackendName(name, 'SPARSIFY_BACKEND');
}
