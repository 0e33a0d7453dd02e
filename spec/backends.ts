/** @file The backends that are present, so that a spec can run on each; tfjs-node where it is provisioned. */
import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-wasm';
import {loadBackend} from '../lib/backend/load.js';
import {walkModel} from '../lib/model/walk.js';
import {asContainer, rawValue} from '../lib/tfjs.js';

await loadBackend(); // tfjs-node with its native kernels where they are provisioned, else the next

/** Names of the backends that are present, the fastest last. */
export const BACKENDS: readonly string[] = ['cpu', 'wasm', 'tensorflow'].filter(
  (name) => tf.findBackendFactory(name) !== null,
);

/** Runs `define` once for every backend that is present, in a `describe` named after it. */
export function onEveryBackend(define: (backend: string) => void): void {
  for (const backend of BACKENDS) {
    describe(`on ${backend}`, () => {
      before(async () => {
        await tf.setBackend(backend);
        await tf.ready();
      });
      withoutLeaks(() => define(backend));
    });
  }
}

/** Checks after each test, but before hooks that are set later, that as many tensors are left as there were. */
export function checkForLeaks(): void {
  let before = 0;
  beforeEach(() => {
    before = tf.memory().numTensors;
  });
  afterEach(() => {
    const after = tf.memory().numTensors;
    if (after !== before) throw new Error(`${after - before} tensors leaked`);
  });
}

/** Checks after each test of `define`, and after its own hooks, that as many tensors are left as there were. */
export function withoutLeaks(define: () => void): void {
  checkForLeaks();
  describe('', define); // hooks of an inner suite run inside those of the outer
}

/** Seeded random numbers, uniform in [0, 1) (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Seeded standard normal numbers (Box-Muller), as float32. */
export function normals(count: number, seed: number, scale = 1): Float32Array {
  const uniform = seeded(seed);
  return Float32Array.from(
    {length: count},
    () => scale * Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

/**
 * Disposes models with all their weights: TensorFlow.js leaves those of a layer that is called twice and those of
 * layers inside custom layers.
 */
export function disposeModels(...models: tf.LayersModel[]): void {
  for (const model of models) {
    const weights = walkModel(asContainer(model)).layers.flatMap(({layer}) => layer.weights.map(rawValue));
    model.dispose();
    for (const weight of weights) if (!weight.isDisposed) weight.dispose();
  }
}
