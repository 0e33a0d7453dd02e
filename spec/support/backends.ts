/** @file The backends that are present, so that a spec can run on each; tfjs-node where it is provisioned. */
import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-wasm';
import {loadBackend} from '../../lib/backend/load.js';
import {walkModel} from '../../lib/model/walk.js';
import {asContainer, rawValue} from '../../lib/tfjs.js';

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
